"""TASKS: what can be asked of an embedding, one file a kind of label and one line here."""

from evaluate.tasks.classes import Classes
from evaluate.tasks.number import Number
from evaluate.tasks.tags import Tags
from evaluate.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    "class": Classes,  # one of K classes: softmax, accuracy
    "tags": Tags,  # any of K tags: sigmoids, macro ROC-AUC and mAP
    "number": Number,  # a real number: squared error, R² and MAE
}
__all__ = ["TASKS", "Classes", "Number", "Tags", "Task"]
