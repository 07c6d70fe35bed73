"""asof in Dagster: early on each day, a copy of every table; when the day is over, the day's job."""

import contextlib
import subprocess
from datetime import timedelta

import dagster as dg

SHOP = "/srv/shop"  # the folder of asof.toml
ZONE = "UTC"  # as `timezone` in asof.toml
JOB = "active_item_events"

# A retry does not change these exit codes.
FINAL = {
    2: "wrong usage or configuration",
    3: "the data was refused",
    70: "a bug in asof, please report it",
}

NO_COPY = (
    "If {day} is over and nothing holds its state any more, that day stays without a copy: "
    "go on with the assets after this one. The job then runs only if `tolerance` of the table "
    "in asof.toml lets it see an older copy."
)

# With today, whose copy is taken early on the day itself.
days = dg.DailyPartitionsDefinition(start_date="2024-01-01", timezone=ZONE, end_offset=1)
retries = dg.RetryPolicy(max_retries=3, delay=300)
one_run = dg.BackfillPolicy.single_run()


def asof(context: dg.AssetExecutionContext, *arguments: str, advice: str = "") -> None:
    """Runs a command of asof. Fails at once if a retry would end the same way."""
    lines = []
    with subprocess.Popen(
        ["asof", *arguments], cwd=SHOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        try:
            for line in run.stdout:
                context.log.info(line.rstrip())
                lines.append(line)
        except BaseException:
            # asof ends cleanly: what it has published is whole, and nothing else stays behind.
            run.terminate()
            raise
    code = run.returncode
    if code != 0:
        meaning = FINAL.get(code, "a retry may succeed")
        raise dg.Failure(
            f"asof exited with {code}: {meaning}\n{''.join(lines)}{advice}",
            allow_retries=code not in FINAL,
        )


@dg.asset(partitions_def=days, retry_policy=retries)
def snapshots(context: dg.AssetExecutionContext) -> None:
    day = context.partition_key
    try:
        asof(context, "snapshot", "--date", day, advice=NO_COPY.format(day=day))
    except dg.Failure:
        # Then `intervals` does not run. The tables that were copied are compacted all the same.
        with contextlib.suppress(dg.Failure):
            asof(context, "compact")
        raise


@dg.asset(partitions_def=days, retry_policy=retries, backfill_policy=one_run, deps=[snapshots])
def intervals(context: dg.AssetExecutionContext) -> None:
    asof(context, "compact")


@dg.asset(partitions_def=days, retry_policy=retries, backfill_policy=one_run, deps=[intervals])
def active_item_events(context: dg.AssetExecutionContext) -> None:
    first, last = context.partition_key_range
    asof(context, "backfill", JOB, "--from", first, "--to", last)


copies = dg.define_asset_job("copies", selection=[snapshots, intervals])
outputs = dg.define_asset_job("outputs", selection=[active_item_events])


@dg.schedule(job=copies, cron_schedule="30 0 * * *", execution_timezone=ZONE)
def early_on_the_day(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(partition_key=context.scheduled_execution_time.strftime("%Y-%m-%d"))


@dg.schedule(job=outputs, cron_schedule="30 3 * * *", execution_timezone=ZONE)
def when_the_day_is_over(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    yesterday = context.scheduled_execution_time - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.strftime("%Y-%m-%d"))


defs = dg.Definitions(
    assets=[snapshots, intervals, active_item_events],
    jobs=[copies, outputs],
    schedules=[early_on_the_day, when_the_day_is_over],
)
