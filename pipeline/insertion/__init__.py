"""One batch's way into the sink: whole if it passes, in pieces if it must be, down to the guilty row or partition.

`insertion` does it, `appetite` knows how much the sink takes at once, `bearing` how many refused rows are too many.
"""

from pipeline.insertion.appetite import GROWS_AFTER, Appetite
from pipeline.insertion.insertion import HOPELESS_REFUSALS, REVIEW_AFTER, Insertion, Persist, Unexplained

__all__ = ["GROWS_AFTER", "HOPELESS_REFUSALS", "REVIEW_AFTER", "Appetite", "Insertion", "Persist", "Unexplained"]
