"""How long the site takes to build, and its largest table to sort and filter: `nox -s bench-site`.

On generated records. Exit code 1 where a limit is passed: 100,000 records in a minute of CPU time, and 100 ms for each
sort and filter of a table of 5,000 rows, from the call to the next frame, in headless Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from suite import render
from tests.benchmarks import generated

BUILD_SECONDS, DRAW_SECONDS = 60.0, 0.1
ROUNDS = 15
#: What a reader does, as changes of the fields of the table's form and clicks on its headings.
DEEDS = {
    "sort by speed-up": "head('speedup')",
    "sort by name": "head('name')",
    "search": "field('q', `l1 0.${round % 9 + 1}`)",
    "filter by family": "field('family', round % 2 ? 'unstructured pruning' : '')",
    "filter by machine": "field('machine', round % 2 ? 'box-b' : '')",
    "another setup": "field('setup', form.elements.setup.options[round % 3].value)",
}
TIME = """
async (rounds) => {
  const section = document.querySelector('section[data-shard]');
  const form = section.querySelector('form');
  const head = (key) => section.querySelector(`th[data-key="${key}"] button`).click();
  const field = (name, value) => {
    form.elements[name].value = value;
    form.elements[name].dispatchEvent(new Event('input', {bubbles: true}));
  };
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    const began = performance.now();
    DEED;
    const done = performance.now();
    section.querySelector('table').offsetHeight;  // lay it out: a reader waits for that too
    times.push([done - began, performance.now() - began]);
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  }
  form.reset();
  await new Promise((resolve) => setTimeout(resolve, 50));
  return times;
}
"""


def build(count: int, folder: Path, tasks: tuple[str, ...] = generated.TASKS) -> tuple[float, float, int]:
    """Generate and build; CPU seconds, seconds and records of the build alone."""
    records = generated.write(folder / "results", count, tasks=tasks)
    began, cpu = time.perf_counter(), time.process_time()
    render.build(folder / "results", folder / "public")
    return time.process_time() - cpu, time.perf_counter() - began, records


def draw(site: Path, chromium: str) -> dict[str, list[float]]:
    """Seconds of each deed on the table of the one task in `site`, round by round, layout included."""
    from playwright.sync_api import sync_playwright

    (address,) = site.glob("task-*.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address.as_uri())
        page.wait_for_selector("section[data-drawn]")
        found = {}
        for name, deed in DEEDS.items():
            found[name] = [laid_out / 1000 for _, laid_out in page.evaluate(TIME.replace("DEED", deed), ROUNDS)]
        browser.close()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print one line a figure; 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--no-browser", action="store_true", help="time the build alone")
    asked = parser.parse_args(arguments)
    late = []
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall, records = build(asked.records, Path(folder))
        print(f"build: {records} records in {cpu:.1f} s of CPU time, {wall:.1f} s")
        late += ["build"] if cpu > BUILD_SECONDS else []
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if asked.no_browser or chromium is None:
        print("draw: not timed: " + ("as asked" if asked.no_browser else "no Chromium here (apt-get install chromium)"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            build(asked.rows * generated.RECORDS_A_ROW, Path(folder), generated.TASKS[:1])
            for name, times in draw(Path(folder) / "public", chromium).items():
                middle, worst = statistics.median(times), max(times)
                print(f"{name}: median {1000 * middle:.0f} ms, worst {1000 * worst:.0f} ms of {len(times)}")
                late += [name] if middle > DRAW_SECONDS else []
    if late:
        print(f"too slow: {', '.join(late)}", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
