"""Turn the records of runs into facts for a page."""

from collections.abc import Iterable


def parameter_values(records: list[dict]) -> dict[str, list[str]]:
    """The values that occur for each parameter of the runs, numbers in rising order."""
    occurring: dict[str, list] = {}
    for record in records:
        for name, value in record.get("config", {}).items():
            values = occurring.setdefault(name, [])
            if value not in values:
                values.append(value)
    return {name: _in_words(values) for name, values in occurring.items()}


def _in_words(values: list) -> list[str]:
    if all(isinstance(value, int | float) for value in values):
        return [f"{value:g}" for value in sorted(values)]
    return [str(value) for value in values]


def facts_of(records: list[dict]) -> dict[str, str]:
    """What the runs have in common and how they differ, each fact under a heading."""
    sessions = _sessions(records)
    hardware = _distinct(_hardware(session) for session in sessions)
    software = _distinct(_software(session) for session in sessions)
    commits = _distinct(session["commit"] for session in sessions)
    facts = _configurations(records) | {
        "Commit": ", ".join(_commit(name) for name in commits),
        "Hardware": "; ".join(hardware),
        "Software": "; ".join(software),
    }
    times = [session.get("resumed", session.get("started", "")) for session in sessions]
    days = sorted(_distinct(time[:10] for time in times))
    if days:
        facts["Date"] = " to ".join(dict.fromkeys([days[0], days[-1]]))
    return {name: text for name, text in facts.items() if text}


def _configurations(records: list[dict]) -> dict[str, str]:
    """The number of runs, the seeds, and the parameters that are the same or different."""
    values = parameter_values(records)
    if not values:
        return {}
    seeds = values.pop("seed")
    same = []
    different = []
    for name, words in values.items():
        if len(words) > 1:
            different.append(f"`{name}` {', '.join(words)}")
        elif words != ["None"] and name != "eval_every":
            same.append(f"`{name}` {words[0]}")
    return {
        "Runs": str(len(records)),
        "Seeds": ", ".join(seeds),
        "The same in all": ", ".join(same),
        "Different": "; ".join(different),
    }


def _sessions(records: list[dict]) -> list[dict]:
    """When and where each run was trained; of one that was interrupted, each of its sessions."""
    return [session for each in records for session in (*each.get("earlier_sessions", ()), each)]


def _distinct(texts: Iterable[str]) -> list[str]:
    """The texts in their order, without duplicates and empty ones."""
    return [text for text in dict.fromkeys(texts) if text]


def _commit(name: str) -> str:
    return f"`{name[:10]}`{' (modified)' if name.endswith('modified') else ''}"


def _hardware(record: dict) -> str:
    machine = record["gpu"] or record["cpu"]
    return f"{machine}, {record['cores']} cores, threads: {record['threads']}"


def _software(record: dict) -> str:
    libraries = [f"{name} {version}" for name, version in record["versions"].items()]
    return ", ".join([f"Python {record['python']}", *libraries])
