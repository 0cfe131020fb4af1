"""Descriptions of the options of DAG configs, for the documentation. A test verifies that every option has one."""

from collections.abc import Mapping

HELP: Mapping[str, str] = {
    "sl_env_var": "Variables for every command, as a JSON object. `SL_ENV` in it selects the environment in which the job is planned",
    "SL_STARLAKE_PATH": "Path of the `starlake` command. Default: the environment variable of the same name, or else `starlake`",
    "SL_TIMEZONE": "Time zone of the schedule, an IANA name. Default: the `timezone` setting",
    "timezone": "The same as `SL_TIMEZONE`, which it overrides",
    "start_date": "First day of schedules, of partitions, and of a sensor's first data interval, such as `2026-01-31`",
    "end_date": "Last day of schedules and partitions, such as `2026-01-31`",
    "tags": "Tags of the job and its runs, separated by spaces or commas",
    "retries": "Number of retries of a failed step. Default: 0",
    "retry_delay": "Seconds to wait before a retry. Default: 300",
    "spark_executor_memory": "Spark's `spark.executor.memory`",
    "spark_executor_cores": "Spark's `spark.executor.cores`",
    "spark_executor_instances": "Spark's `spark.executor.instances`",
    "default_pool": "Concurrency pool of the job's steps, unless the component's `op` sets one",
    "pre_load_strategy": "`none`, `imported`, `pending`, or `ack`: where a load first looks for files. Default: `none`",
    "global_ack_file_path": "Path of the ack file for the `ack` strategy",
    "pre_load_sensor": "`true` or `false`: whether a file sensor starts the job. Default: the `file_sensors` setting",
    "pre_load_poke_interval": "Seconds between two ticks of the file sensor. Default: 30",
    "run_dependencies_first": "`true`: the job also runs everything upstream of its tasks. Default: `false`",
    "dataset_triggering_strategy": "`all`, `any`, or an expression: when a sensor starts the job. Default: `all`",
    "optional_dataset_enabled": "`true`: a sensor does not wait for data that is updated less often than the data cycle. Default: `false`",
    "data_cycle_enabled": "`true`: the job has a data cycle. Default: `false`",
    "data_cycle": "`hourly`, `daily`, `weekly`, `monthly`, `yearly`, or a cron expression. "
    "Default: the most frequent schedule among the watched data",
    "beyond_data_cycle_enabled": "`false`: data must be in the data cycle, regardless of its freshness. Default: `true`",
    "min_timedelta_between_runs": "Shortest time between two runs of a sensor, in seconds. Default: 0",
}
"""Option -> description, in Markdown. Options that belong to one executor are described on that executor's page."""
