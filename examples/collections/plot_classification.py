"""
Which exercise is it?
=====================

Recordings of different lengths in pipelines of scikit-learn, with a gamma that is chosen by cross-validation. The
people who are tested on are never among those who were learned from.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sdtwkit import AlignmentDistance, NearestSoftCentroid, SoftDTWKNeighborsClassifier
from sdtwkit.datasets import load_watch_exercises

recordings = load_watch_exercises()
chosen = np.flatnonzero(recordings.side == "right")
X = [recordings.data[k][: len(recordings.data[k]) // 4] for k in chosen]  # about five repetitions
y = np.array(recordings.target_names)[recordings.target[chosen]]
person = recordings.subject[chosen]

# %%
# The first step brings acceleration (g) and rotation (rad/s) to like magnitudes. Then neighbours vote, or each exercise
# is one mean recording; or `AlignmentDistance` turns recordings into distances, which any estimator takes that knows
# precomputed ones.


def weigh(X):
    return [x * [1, 1, 1, 0.3, 0.3, 0.3] for x in X]


last_steps = {
    "nearest mean": [NearestSoftCentroid(tol=1e-3)],
    "3 neighbours": [SoftDTWKNeighborsClassifier(3)],
    "1 neighbour, by scikit-learn": [AlignmentDistance(), KNeighborsClassifier(1, metric="precomputed")],
}
gammas = [0.01, 0.1, 0.3, 1.0, 3.0, 10.0]
folds = GroupKFold(5)
searches = {}
for name, steps in last_steps.items():
    pipeline = make_pipeline(FunctionTransformer(weigh), *steps)
    grid = {f"{type(steps[0]).__name__.lower()}__gamma": gammas}
    searches[name] = GridSearchCV(pipeline, grid, cv=folds).fit(X, y, groups=person)

# %%
# On the left, how many recordings are recognised for each gamma. On the right, what the nearest mean takes for what, at
# its best gamma. It was chosen with these very folds, so of still other people a little less would be recognised.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for name, search in searches.items():
    left.semilogx(gammas, search.cv_results_["mean_test_score"], "o-", label=name)
left.set(xlabel="gamma", ylabel="share of recordings recognised", ylim=(0.5, 1))
left.legend(frameon=False)
best = searches["nearest mean"].best_estimator_
predicted = cross_val_predict(best, X, y, groups=person, cv=folds)
ConfusionMatrixDisplay.from_predictions(
    y, predicted, labels=recordings.target_names, ax=right, cmap="Blues", colorbar=False, xticks_rotation=40
)
plt.setp(right.get_xticklabels(), ha="right")
right.set_title(f"nearest mean: {np.mean(predicted == y):.0%} right")
plt.show()
