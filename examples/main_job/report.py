# SPDX-License-Identifier: MIT
"""Reads measurements.csv from stdin and prints a report. Runs in the guest; standard library only."""

import csv
import json
import platform
import sqlite3
import statistics
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")

database = sqlite3.connect("/tmp/measurements.db")
database.execute("CREATE TABLE measurement (time TEXT, station TEXT, temperature REAL, wind REAL)")
dropped = 0
for row in csv.DictReader(sys.stdin):
    if row["quality"] != "ok":
        dropped += 1
        continue
    time = datetime.fromisoformat(row["time"]).astimezone(ZONE)
    database.execute(
        "INSERT INTO measurement VALUES (?, ?, ?, ?)",
        (time.isoformat(), row["station"], float(row["temperature_c"]), float(row["wind_m_s"])),
    )
database.commit()

print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, host name {platform.node()}")
print(f"{'station':<12}{'n':>4}{'mean':>8}{'stdev':>8}{'coldest':>10}  at")
for (station,) in database.execute("SELECT DISTINCT station FROM measurement ORDER BY station").fetchall():
    rows = database.execute(
        "SELECT temperature, time FROM measurement WHERE station = ? ORDER BY temperature", (station,)
    ).fetchall()
    values = [temperature for temperature, _ in rows]
    coldest, time = rows[0]
    print(
        f"{station:<12}{len(values):>4}{statistics.mean(values):>8.2f}{statistics.stdev(values):>8.2f}"
        f"{coldest:>10.1f}  {time}"
    )

warming, _ = statistics.linear_regression(*zip(*enumerate(
    mean for (mean,) in database.execute("SELECT avg(temperature) FROM measurement GROUP BY time ORDER BY time")
)))
windiest = database.execute("SELECT station, max(wind) FROM measurement").fetchone()
print(json.dumps({"dropped": dropped, "trend_c_per_hour": round(warming, 3), "windiest": windiest}))
