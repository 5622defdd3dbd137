"""The results of an evaluation as a text table for the terminal."""

from __future__ import annotations

import textwrap
from typing import Any

from p2be_exp.attacks.random_in_ball import RandomInBall
from p2be_exp.corruptions.provenance import provenance
from p2be_exp.evaluation.distances import NORM, QUANTILES


def results_table(results: dict[str, Any]) -> str:
    """Text table of the content of a ``results.json``.

    Clean images and attacks with images, wrong, error and interval; the distances that attacks without a radius found;
    corruptions with one column per severity, and below them the means and what each was taken over.
    """
    lines = [f"{'condition':<32}{'images':>8}{'wrong':>8}{'error %':>9}   95 % interval"]
    for name, row in results["conditions"].items():
        if not name.startswith("corruption/"):
            interval = f"{row['ci_low']:.2f} to {row['ci_high']:.2f}"
            line = f"{name:<32}{row['n']:>8}{row['n_wrong']:>8}{row['error']:>9.2f}   {interval:<16}"
            lines.append(f"{line}{_remarks(name, results)}{_moved(name, results)}".rstrip())
    lines += _worst_case(results)
    if results.get("distances"):
        lines += ["", *_distances(results["distances"])]
    if results["sanity"]:
        lines += ["", *_sanity(results["sanity"])]
    if results["corruptions"]:
        lines += ["", *_corruptions(results)]
    return "\n".join(lines)


def _worst_case(results: dict[str, Any]) -> list[str]:
    """The worst case by radius; without a suite the error under each attack, which is none."""
    if (errors := results["worst_case_error"]) is not None:
        short = " (short suite)" if (results.get("worst_case") or {}).get("suite") == "suite_short" else ""
        return [f"{f'worst case, {radius} levels{short}':<48}{_number(error):>9}" for radius, error in errors.items()]
    named = {name: attack["error"] for name, attack in results["attacks"].items() if name != RandomInBall.id}
    return [
        f"{f'error under {name} alone, {radius} levels':<48}{_number(error):>9}"
        for name, of_radius in named.items()
        for radius, error in of_radius.items()
    ]


def _distances(distances: dict[str, Any]) -> list[str]:
    """Two lines an attack, in levels and in [0, 1]."""
    titles = "".join(f"{'median' if name == 'median' else f'{percent} %':>9}" for name, percent in QUANTILES.items())
    lines = [
        f"{NORM} distance within which so many of the images have a wrong one: upper bounds, no part of any worst case",
        f"{'attack':<48}{'found %':>9}{titles}",
    ]
    for name, row in distances.items():
        if row is None:
            continue
        levels = "".join(f"{_number(row['levels'][each]):>9}" for each in QUANTILES)
        unit = "".join(f"{_number(row['unit'][each], 4):>9}" for each in QUANTILES)
        said = f"gradient {row['gradient']}" if row["gradient"] else "no gradient"
        if row.get("zero_gradient") is not None:
            said += f", {100 * row['zero_gradient']:.1f} % of it 0"
        lines += [f"{name:<48}{row['broken']:>9.2f}{levels} levels   {said}", f"{'':<57}{unit} of [0, 1]"]
    return lines


def _sanity(checks: list[dict[str, str]]) -> list[str]:
    """The panel's verdicts, one line per check; with the details of those that are not ok."""
    lines, seen = ["can these numbers be trusted?"], set()
    for check in checks:
        line = f"{check['verdict']:<14}{check['name']}"
        if check["verdict"] in ("suspicious", "failed"):
            lines += [line, *textwrap.wrap(check["detail"], 104, initial_indent=" " * 16, subsequent_indent=" " * 16)]
        elif line not in seen:
            lines.append(line)
        seen.add(line)
    return lines


def _remarks(condition: str, results: dict[str, Any]) -> str:
    """The gradient that an attack used, the share of it that was 0, and what it alone broke."""
    if not condition.startswith("attack/"):
        return ""
    _, name, radius = condition.split("/")
    attack, said = results["attacks"].get(name, {}), "no gradient"
    if attack.get("gradient"):
        zeros = attack["zero_gradient"].get(radius)
        said = f"gradient {attack['gradient']}" + ("" if zeros is None else f", {100 * zeros:.1f} % of it 0")
    alone = attack.get("alone", {}).get(radius)
    return f"   {said}" + (f", {alone} alone" if alone else "")


def _moved(condition: str, results: dict[str, Any]) -> str:
    """How many images of an attack had to be moved into the ball, and its remark."""
    if not condition.startswith("attack/"):
        return ""
    _, name, radius = condition.split("/")
    attack = results["attacks"].get(name, {})
    said = ""
    if (clamped := attack.get("clamped", {}).get(radius)) is not None:
        lost = attack["lost"][radius]
        said = f"; {clamped} moved into the ball" + (f", {lost} of them no longer wrong" if clamped else "")
    return said + (f"; {attack['remark']}" if "remark" in attack else "")


def _corruptions(results: dict[str, Any]) -> list[str]:
    section = results["corruptions"]
    severities = section["severities"]
    lines = [f"{'error % at severity':<32}" + "".join(f"{severity:>8}" for severity in severities) + f"{'mean':>9}"]
    for name, row in section["per_corruption"].items():
        cells = "".join(f"{_number(row['severities'][str(severity)]):>8}" for severity in severities)
        lines.append(f"{name:<32}{cells}{_number(row['error']):>9}")
    means = {**section["categories"], "mean": section["mean"], "mean of the extra ones": section["extra"]}
    for name, mean in means.items():
        if mean["error"] is not None:
            lines.append(f"{name:<32}{'':>{8 * len(severities)}}{mean['error']:>9.2f}   over {mean['over']}")
    for key, name in (("mce", "mCE"), ("relative_mce", "relative mCE")):
        if results[key] is not None:
            lines.append(f"{name:<32}{'':>{8 * len(severities)}}{results[key]:>9.2f}   AlexNet = 100")
    lines += [f"{name} left out: {why}" for name, why in section["left_out"].items()]
    if section["unfinished"]:
        lines.append(f"not finished: {', '.join(section['unfinished'])}")
    lines += [f"remark: {remark}" for remark in section.get("remarks", ())]
    names = dict.fromkeys([*section["per_corruption"], *section["unfinished"]])
    dataset = results.get("settings", {}).get("dataset", "")
    origin = provenance(section["source"], names, section.get("identical", ()), dataset)
    return [*lines, f"corrupted images: {origin}"]


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
