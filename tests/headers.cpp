// Nothing of its own: the headers that all test programs share are compiled for it, see CMakeLists.txt beside it.
