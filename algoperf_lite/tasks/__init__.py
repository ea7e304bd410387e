"""Losses, masked sums and metrics, a module per task: what the workloads of one family share.

The functions take the network's `apply` first; a workload binds it. `reg` is `spec.Reg`; outside training the key is
None. `loss` is the workload's `loss`, `sums` its `evaluate`, `metrics` its `finalise`.
"""
