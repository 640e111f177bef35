"""
Finding a movement in a long recording
======================================

One repetition of an exercise, by one person, is looked for in a whole session of another one: where does it happen,
and how often? The ends of the alignment are free along the session, so a match may begin and end anywhere and be
slower or faster than the query.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import subsequence_matches
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.plotting import MatchingDisplay

recordings = load_watch_exercises()


def recorded(person, exercise):
    these = (recordings.subject == person) & (recordings.target == exercise) & (recordings.side == "right")
    return recordings.data[np.flatnonzero(these)[0]]


# %%
# The session: all seven exercises of the second person, 20 seconds of each. The query: one forward elevation
# of the arm by the first person.

parts = [recorded(2, exercise)[:250] for exercise in range(7)]
session = np.concatenate(parts)
seconds = np.arange(len(session)) / recordings.sampling_rate
query = recorded(1, 2)[28:62]
matches = subsequence_matches(query, session, k=12)

# %%
# The twelve best places that do not overlap, with their costs. First come all repetitions of the same exercise;
# abduction, where the arm is lifted to the side, is more like it than anything else.

figure, (top, bottom) = plt.subplots(2, 1, figsize=(11, 5), sharex=True, layout="constrained", height_ratios=[2, 1])
top.plot(seconds, session[:, 0], color="0.4", linewidth=0.9)
for rank, (start, end, value) in enumerate(sorted(matches)):
    color = ("#E69F00", "#56B4E9")[rank % 2]
    times = np.array([start, end]) / recordings.sampling_rate
    top.axvspan(*times, color=color, alpha=0.4, linewidth=0)
    bottom.fill_between(times, value, color=color)
for exercise in range(7):
    top.axvline(20 * exercise, color="black", linewidth=0.8)
    top.text(20 * exercise + 0.5, 1.35, recordings.target_names[exercise], fontsize="small")
top.set(ylabel="acceleration x (g)", ylim=(-1.6, 1.6), xlim=(0, seconds[-1]))
bottom.set(ylabel="cost", xlabel="time (s)")
bottom.set_ylim(bottom=0)
plt.show()

# %%
# The query and its best match: what is fast in one and slow in the other is matched sample by sample.

start, end, _ = matches[0]
MatchingDisplay.from_series(
    query[:, 0], session[start:end, 0], sampling_rate=recordings.sampling_rate, names=("query", "match")
)
plt.show()
