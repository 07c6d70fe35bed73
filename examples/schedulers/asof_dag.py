"""asof in Airflow 3: early on each day, a copy of every table; when the day is over, the day's job."""

from datetime import datetime, timedelta

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, BaseOperator, CronTriggerTimetable
from airflow.sdk.exceptions import AirflowFailException

SHOP = "/srv/shop"  # the folder of asof.toml, on a disk that all workers share
DAY = "{{ ds }}"  # the day of the run, in UTC
JOB = "active_item_events"

# A retry does not change these exit codes.
FINAL = {
    2: "wrong usage or configuration",
    3: "the data was refused",
    70: "a bug in asof, please report it",
}

NO_COPY = (
    "The lines above say which table, why, and what to type; then clear this task. "
    "If {{ ds }} is over and nothing holds its state any more, that day stays without a copy: "
    "mark this task as success and clear those after it. The job then runs only if "
    "`tolerance` of the table in asof.toml lets it see an older copy."
)


class Asof(BaseOperator):
    """Runs a command of asof. Fails at once if a retry would end the same way."""

    template_fields = ("arguments", "advice")

    def __init__(self, *, arguments, advice="The lines above say what is wrong.", **settings):
        super().__init__(**settings)
        self.arguments = arguments
        self.advice = advice
        self.hook = SubprocessHook()

    def execute(self, context):
        code = self.hook.run_command(["asof", *self.arguments], cwd=SHOP).exit_code
        if code in FINAL:
            raise AirflowFailException(f"asof exited with {code}: {FINAL[code]}. {self.advice}")
        if code != 0:
            raise RuntimeError(f"asof exited with {code}: a retry may succeed")

    def on_kill(self):
        # asof ends cleanly: what it has published is whole, and nothing else stays behind.
        self.hook.send_sigterm()


with DAG(
    "shop",
    # Early on the day that the copy is labelled with, so that retries do not run into the next one.
    schedule=CronTriggerTimetable("30 0 * * *", timezone="UTC"),
    start_date=datetime(2024, 1, 1),
    # A missed run could not take the copy of its day any more, so Airflow is not to start it.
    catchup=False,
    # Last night's run still waits for its day to end. The others are for runs that you clear.
    max_active_runs=4,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
):
    snapshot = Asof(
        task_id="snapshot",
        arguments=["snapshot", "--date", DAY],
        advice=NO_COPY,
    )
    compact = Asof(
        task_id="compact",
        arguments=["compact"],
        # The second of two compactions of one table would exit with 4.
        max_active_tis_per_dag=1,
        # If some tables failed, the others are compacted all the same.
        trigger_rule="all_done",
    )
    day_is_over = DateTimeSensorAsync(
        task_id="day_is_over",
        target_time="{{ logical_date.add(days=1).at(3, 30) }}",
        # asof itself refuses the job if a table that it reads has no copy.
        trigger_rule="all_done",
    )
    backfill = Asof(
        task_id="backfill",
        arguments=["backfill", JOB, "--from", DAY, "--to", DAY],
    )
    # A run fails if one of its last tasks does, so a task that waits for these is one of them.
    tables_are_done = EmptyOperator(task_id="tables_are_done")
    snapshot >> compact >> day_is_over >> backfill
    [snapshot, compact] >> tables_are_done
