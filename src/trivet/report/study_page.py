"""A study as one page: the answer, the balance curve, why, and everything that it was found from."""

from dataclasses import dataclass

from trivet.catalog.study import Study
from trivet.report.answer import answer, goal_words
from trivet.report.blocks import (
    Section,
    banner,
    bullets,
    environment_values,
    named_values,
    page_body,
    picture,
    state_chip,
    table,
)
from trivet.report.html import Child, document, joined, prose, tag
from trivet.report.numbers import counted, whole
from trivet.report.pictures import balance_plots, cohort_plots, effect_plots
from trivet.report.pictures.plot import Plot, Shown
from trivet.report.study_tables import left_out_table, lever_table, run_table, trial_table, variant_table
from trivet.report.study_view import StudyView

MAX_TRIALS = 400  # rows of the table of trials


@dataclass(frozen=True, slots=True)
class StudyPlots:
    balance: Shown
    legs: Shown
    effects: list[Shown]
    accuracy: Shown

    def drawn(self) -> list[Plot]:
        every = [self.balance, self.legs, *self.effects, self.accuracy]
        return [shown for shown in every if isinstance(shown, Plot)]


def study_plots(view: StudyView) -> StudyPlots:
    return StudyPlots(
        balance=balance_plots.balance(view),
        legs=balance_plots.legs(view),
        effects=effect_plots.effects(view.study.effects),
        accuracy=cohort_plots.of_variants(view.variants),
    )


def study_page(view: StudyView) -> str:
    """Raises: ExtraMissingError: no matplotlib."""
    study = view.study
    plots = study_plots(view)
    head = joined(
        tag("p", state_chip(study.state), " ", prose(goal_words(view)), class_="muted"),
        banner(study.state, study.reason),
        answer(view),
        picture(plots.balance, heading=False),
    )
    sections = [
        Section("Why this one", _why(view)),
        Section(
            "Accuracy", [picture(plots.legs), picture(plots.accuracy), tag("h3", "Variants"), _variants(view)]
        ),
        Section("Levers", [*map(picture, plots.effects), *_levers(view)]),
        Section("Trials", _trials(view)),
        Section("Environment", _environment(study)),
        Section("Runs and replay", _runs(view)),
    ]
    return document(
        f"trivet: the balance of {study.service}",
        page_body(
            f"trivet study {study.id}", f"The balance of {study.service}", head, sections, _foot(study)
        ),
    )


def _why(view: StudyView) -> list[Child]:
    found = view.study.recommendation
    if found is None:
        return [
            tag(
                "p", "No recommendation: the study ended before anything could be promised.", class_="missing"
            )
        ]
    content: list[Child] = [bullets(found.reasons, ordered=True)]
    if found.uncertainty:
        content += [tag("h3", "How sure that is"), tag("p", found.uncertainty)]
    content.append(tag("h3", "Runner-up"))
    if view.runner_up is None:
        content.append(
            tag("p", "None: no other configuration that meets the goal was measured.", class_="missing")
        )
    else:
        content.append(tag("p", f"Trial {view.runner_up.id}: {view.told(view.runner_up)}."))
    for title, lines in (
        ("What would change the choice", found.would_change),
        ("Not tried", found.not_tried),
    ):
        if lines:
            content += [tag("h3", title), bullets(lines)]
    if found.yaml:
        what = tag("summary", "configuration.yaml: serve it with trivet serve configuration.yaml")
        content.append(tag("details", what, tag("pre", tag("code", found.yaml))))
    return content


def _variants(view: StudyView) -> Child:
    if not view.variants:
        return tag("p", "Only the model as it is: no variant was built.", class_="missing")
    return table(variant_table(view), wide=["why"])


def _levers(view: StudyView) -> list[Child]:
    content: list[Child] = [tag("h3", "Levers that were searched")]
    study = view.study
    if study.levers:
        content.append(table(lever_table(view), wide=["values", "why these"]))
    else:
        content.append(tag("p", "None: nothing was left to vary.", class_="missing"))
    if study.left_out:
        content += [tag("h3", "Left out, and why"), table(left_out_table(study), wide=["why"])]
    return content


def _trials(view: StudyView) -> list[Child]:
    trials = trial_table(view, MAX_TRIALS)
    if not trials.content.rows:
        return [tag("p", "No configuration was tried.", class_="missing")]
    study = view.study
    words = counted(len(trials.content.rows), "trial")
    if study.num_screened:
        words += f" of {counted(study.num_screened, 'configuration')} screened by simulation"
    if trials.num_left_out:
        words += (
            f"; {trials.num_left_out:,} more that are behind these are in `trivet report {study.id} --json`"
        )
    volume = study.hypervolume
    told = f" Hypervolume of the front: {whole(volume)}." if volume is not None else ""
    return [
        tag("p", prose(f"{words}. In plain letters: measured; (in brackets): predicted.{told}")),
        table(
            trials.content,
            sortable=True,
            chosen=trials.chosen,
            wide=["levers unlike the default", "remark"],
        ),
    ]


def _environment(study: Study) -> list[Child]:
    environment = study.environment
    machine = f"{environment.processor.model or 'an unnamed processor'}, {len(environment.cores)} cores"
    host = f" on {environment.host}" if environment.host else ""
    content: list[Child] = [
        tag("p", f"All figures are of one machine: {machine}{host}. Another machine has another front."),
        tag(
            "details",
            tag("summary", "The environment in full"),
            named_values(environment_values(environment)),
        ),
    ]
    if study.dataset:
        content += [tag("h3", "Data"), named_values(study.dataset)]
    if study.notes:
        content += [tag("h3", "Notes"), bullets(study.notes)]
    return content


def _runs(view: StudyView) -> list[Child]:
    study = view.study
    content: list[Child] = [
        tag("p", "The study again, with the same seed, on this data:"),
        tag("pre", tag("code", " ".join(study.command) or "its command was not recorded")),
    ]
    runs = run_table(view)
    if not runs.rows:
        return [
            *content,
            tag("p", "Nothing was measured under load, so there is no run to replay.", class_="missing"),
        ]
    return [*content, tag("p", "Each live measurement is a run of its own:"), table(runs)]


def _foot(study: Study) -> str:
    ended = f", ended {study.ended}" if study.ended else ""
    spent = sum(study.spent_ns.values()) / 1e9
    budget = f"; {spent:,.0f} s of a budget of {study.budget_ns / 1e9:,.0f} s" if spent else ""
    return f"Begun {study.begun}{ended}{budget}; seed {study.seed}. Written by `trivet report {study.id}`."
