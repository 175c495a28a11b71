"""TASKS: what a head can learn of an embedding, one file a kind of label and one line here.

Versions of a piece (`evaluate.retrieval`) need no head, beats and segments have one a frame.
"""

from evaluate.tasks.classes import Classes
from evaluate.tasks.key import Key
from evaluate.tasks.number import Number
from evaluate.tasks.tags import Tags
from evaluate.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    "class": Classes,  # one of K classes: softmax, accuracy
    "tags": Tags,  # any of K tags: sigmoids, macro ROC-AUC and mAP
    "number": Number,  # a real number: squared error, R² and MAE
    "key": Key,  # one of 24 keys: softmax, points for near keys, accuracy
}
__all__ = ["TASKS", "Classes", "Key", "Number", "Tags", "Task"]
