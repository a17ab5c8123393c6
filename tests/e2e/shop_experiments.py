"""The experiments of examples/experiments, and why each of them fails without what it rests on (RESTS_ON of shop_stage.py): what must
be among the expectations that are not met."""
WHY = {
    "instance-failure": ["shop success_rate >= 99.9%", "recovers_within = 2s"],
    "instances-failure": ["shop success_rate >= 20%", "recovers_within = 2s"],
    "region-outage": ["shop success_rate >= 99%"],
    "bad-deployment": ["shop success_rate >= 99%"],
    "configuration-error": ["shop success_rate >= 99%"],
    "packet-loss": ["shop p95 < 1s"],
    "corruption": ["shop success_rate >= 99%", "shop status 500 < 1%"],
    "partition": ["shop max < 2s"],
    "service-unavailable": ["shop status 503 >= 90%", "shop status 500 < 1%"],
    "dependency-errors": ["shop status 503 >= 90%", "shop status 500 < 1%"],
    "partial-failure": ["shop success_rate >= 99%", "shop status 5xx < 1%"],
    "invalid-input": ["shop success_rate >= 99%", "unknown success_rate >= 99%"],
    "concurrent-failures": ["shop error_rate < 1%", "shop status 500 < 1%"],
    "slow-network": ["shop status 500 < 1%"],
    "multi-service-failure": ["shop status 503 >= 90%", "shop p50 < 50ms"],
    "load-surge": ["surge p95 < 1s"],
    "memory-exhaustion": ["shop success_rate >= 99%", "shop status 500 < 1%"],
    "disk-exhaustion": ["shop success_rate >= 99%", "shop status 500 < 1%"],
    "network-exhaustion": ["shop max < 2s"],
}
