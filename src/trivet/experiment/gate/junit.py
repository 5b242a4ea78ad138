"""A gate's findings as JUnit XML: what CI systems read. Each figure is a test case."""

from xml.etree import ElementTree

from trivet.experiment.gate.gate import Gate


def junit_xml(result: Gate, service: str) -> bytes:
    """A regression is a failure; what could not be decided is an error, as it is no pass either."""
    failures = sum(finding.outcome == "regression" for finding in result.findings)
    errors = sum(finding.outcome == "not enough data" for finding in result.findings)
    counts = {
        "tests": str(len(result.findings)),
        "failures": str(failures),
        "errors": str(errors),
        "time": f"{result.seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "trivet gate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": f"trivet gate {service}", **counts})
    for finding in result.findings:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": f"trivet.gate.{service}", "name": finding.figure}
        )
        if finding.outcome != "pass":
            kind = "failure" if finding.outcome == "regression" else "error"
            ElementTree.SubElement(
                case, kind, {"message": finding.outcome, "type": finding.outcome}
            ).text = _plain(finding.detail)
        else:
            ElementTree.SubElement(case, "system-out").text = _plain(finding.detail)
    lines = [
        f"outcome: {result.outcome}",
        *map(str, result.suspects),
        *result.notes,
        f"runs: {' '.join(result.runs)}",
    ]
    ElementTree.SubElement(suite, "system-out").text = _plain("\n".join(lines))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _plain(text: str) -> str:
    """Without the control characters that XML cannot hold; an error of a server may carry any."""
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)
