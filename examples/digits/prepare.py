"""Write the labelled sample: rows that the model was trained on are to fit variants with, the others to judge by."""

import numpy as np
from digits import parts

seen, unseen, seen_labels, unseen_labels = parts()
# A third of the unseen rows chooses and certifies, the rest judges.
num_choosing = len(unseen) // 3
names = ["fit"] * len(seen) + ["validation"] * num_choosing + ["test"] * (len(unseen) - num_choosing)
np.savez(
    "digits.npz",
    pixels=np.concatenate([seen, unseen]),
    digit=np.concatenate([seen_labels, unseen_labels]),
    part=np.array(names),
)
print(f"digits.npz: {len(names):,} rows, {names.count('test'):,} of them to judge by")
