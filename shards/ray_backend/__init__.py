"""The only package that imports ray: it does the work, the order is ours.

One local Ray a node, or a cluster's. Tasks get plan rows and write decoded clips into memory that
they share with the process that asked; only what happened travels back. The traps that each
setting avoids are named beside it (Ray 2.60, found by running it).
"""

from shards.ray_backend.cluster import connect as connect
from shards.ray_backend.cluster import disconnect as disconnect
from shards.ray_backend.cluster import is_connected as is_connected
from shards.ray_backend.filler import RayTasks as RayTasks
from shards.ray_backend.tasks import MAX_RETRIES as MAX_RETRIES
from shards.ray_backend.tasks import run_tasks as run_tasks
