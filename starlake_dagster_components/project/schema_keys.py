"""The keys of each kind of object in Starlake's JSON schema, and the values of its enumerations. Starlake: starlake.json."""

from .word_sets import split_words

TABLE = split_words(
    "name pattern attributes metadata comment streams presql postsql tags rls expectations primaryKey acl rename sample filter "
    "patternSample"
)
DOMAIN = frozenset(["name", "metadata", "comment", "tags", "rename", "database"])
METADATA = split_words(
    "format encoding multiline array withHeader separator quote escape sink directory extensions ack options loader emptyIsNull "
    "dagRef freshness nullValue schedule writeStrategy"
)
ATTRIBUTE = split_words(
    "name type array required privacy comment rename sample metricType attributes position default tags trim script foreignKey "
    "ignore accessPolicy"
)
SINK = split_words(
    "connectionRef clustering days requirePartitionFilter materializedView enableRefresh refreshIntervalMs id format extension "
    "sharding partition coalesce path options"
)
WRITE_STRATEGY = frozenset(["type", "types", "key", "timestamp", "queryFilter", "on", "startTs", "endTs"])
FRESHNESS = frozenset(("warn", "error"))
EXPECTATION = frozenset(("expect", "failOnError"))
ACL = frozenset(("role", "grants", "name"))
RLS = frozenset(("name", "predicate", "grants", "description"))
POSITION = frozenset(("first", "last"))
TASK = split_words(
    "name sql streams primaryKey database domain table partition presql postsql sink rls expectations acl comment freshness "
    "attributes python tags writeStrategy schedule dagRef taskTimeoutMs parseSQL connectionRef syncStrategy "
    "dataset_triggering_strategy"
)
TRANSFORM = frozenset(("name", "tasks", "comment", "default"))
DAG = frozenset(("comment", "template", "filename", "options"))
TYPE = frozenset(["name", "pattern", "primitiveType", "zone", "sample", "comment", "ddlMapping"])
CONNECTION = frozenset(["type", "sparkFormat", "loader", "quote", "separator", "options", "_transpileDialect"])
REFERENCE = frozenset(("input", "output"))
REFERENCE_PARTS = frozenset(("database", "domain", "table"))
APPLICATION = split_words(
    "env datasets incoming dags types macros tests prunePartitionOnMerge writeStrategies loadStrategies metadata metrics "
    "validateOnLoad rejectWithValue audit archive sinkReplayToFile lock defaultWriteFormat defaultRejectedWriteFormat "
    "defaultAuditWriteFormat csvOutput csvOutputExt privacyOnly emptyIsNull loader rowValidatorClass loadStrategyClass grouped "
    "groupedMax scd2StartTimestamp scd2EndTimestamp area hadoop connections jdbcEngines privacy root internal accessPolicies "
    "sparkScheduling udfs expectations sqlParameterPattern rejectAllOnError rejectMaxRecords maxParCopy kafka dsvOptions "
    "forceViewPattern forceDomainPattern forceTablePattern forceJobPattern forceTaskPattern useLocalFileSystem "
    "sessionDurationServe database tenant connectionRef loadConnectionRef transformConnectionRef schedulePresets maxParTask refs "
    "dagRef forceHalt jobIdEnvName archiveTablePattern archiveTable version autoExportSchema longJobTimeoutMs shortJobTimeoutMs "
    "createSchemaIfNotExists http timezone maxInteractiveRecords duckdbMode duckdbExtensions duckdbPath testCsvNullString "
    "hiveInTest spark extra duckDbEnableExternalAccess syncSqlWithYaml syncYamlWithDb onExceptionRetries pythonLibsDir"
)
AREA = frozenset(["incoming", "stage", "unresolved", "archive", "ingesting", "replay", "hiveDatabase"])
AUDIT = split_words("path sink maxErrors database domain domainExpectation domainRejected detailedLoadAudit active sql")
EXPECTATIONS = frozenset(("path", "active", "failOnError"))
DAG_REF = frozenset(("load", "transform"))

ROOTS = frozenset(["extract", "load", "transform", "env", "types", "tables", "table", "task", "application", "refs", "dag", "external"])

FORMATS = split_words("DATAFRAME DSV POSITION JSON JSON_ARRAY JSON_FLAT XML TEXT_XML KAFKA KAFKASTREAM GENERIC PARQUET")
STRATEGIES = split_words("OVERWRITE APPEND UPSERT_BY_KEY UPSERT_BY_KEY_AND_TIMESTAMP DELETE_THEN_INSERT SCD2 OVERWRITE_BY_PARTITION")
STRATEGIES_WITH_KEY = frozenset(["UPSERT_BY_KEY", "UPSERT_BY_KEY_AND_TIMESTAMP", "DELETE_THEN_INSERT", "SCD2"])
MERGE_ON = frozenset(("TARGET", "SOURCE_AND_TARGET"))
TRIMS = frozenset(("LEFT", "RIGHT", "BOTH", "NONE"))
MATERIALIZATIONS = frozenset(("TABLE", "VIEW", "MATERIALIZED_VIEW", "HYBRID"))
PRIMITIVES = frozenset(["string", "long", "int", "short", "double", "boolean", "byte", "date", "timestamp", "decimal", "variant", "struct"])
