"""Why a file is not packed."""


class Rejection(Exception):
    """A file that is not packed: stage, code, message (see `shards.schema.REJECTED_SCHEMA`)."""

    def __init__(self, stage: str, code: str, message: str) -> None:
        super().__init__(stage, code, message)
        self.stage, self.code, self.message = stage, code, message
