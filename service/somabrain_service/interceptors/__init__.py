"""What every call passes through on its way in: one file a step, folded in one order by `chain`."""
