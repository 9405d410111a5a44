"""The referee: is a recurrent layer's forward pass, and its backpropagation through time, right?

Any layer is held to itself (one step at a time is the whole sequence), to finite differences, and,
where it has the weights of a known cell, to that cell.
"""

from elman.referee.arrays import ArrayLayer as ArrayLayer
from elman.referee.report import Fault as Fault
from elman.referee.report import Verdict as Verdict
from elman.referee.run import check as check
from elman.referee.subject import distance as distance
from elman.referee.subject import steps_first as steps_first
