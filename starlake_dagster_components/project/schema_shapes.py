"""The objects of a project in Starlake's JSON schema: keys, types, enumerations, required keys. Starlake: starlake.json.

Each kind of object is one string with its keys and the types of their values. A ``name`` without a type is a scalar
(``ConvertibleToString``), and ``name!`` is required. ``:bool``, ``:int``, ``:number``, and ``:string`` are strict; ``:any`` is not checked.
``:map`` is a mapping of scalars, ``:[]`` a list of scalars, ``:[x]`` a list of x, and ``:{x}`` a mapping of x. Any other word, such as
``:format``, names an enumeration or a kind of object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from .word_sets import split_words


@dataclass(frozen=True, slots=True)
class Type:
    """The type and the allowed values of a key.

    Attributes:
        kind: a basic type, ``list``, ``map``, ``enum``, or ``object``.
        of: the type of the items of a list or mapping.
        name: the name of the enumeration or kind of object.
    """

    kind: Literal["text", "bool", "int", "number", "string", "any", "list", "map", "enum", "object"]
    of: "Type | None" = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """The keys of a kind of object with the types of their values, and the required ones."""

    keys: Mapping[str, Type]
    required: tuple[str, ...]


_BASIC = frozenset(("text", "bool", "int", "number", "string", "any"))

ENUMERATIONS: Mapping[str, tuple[str, ...]] = {
    "format": (
        "DATAFRAME", "DSV", "POSITION", "JSON", "JSON_ARRAY", "JSON_FLAT", "XML", "TEXT_XML", "KAFKA", "KAFKASTREAM", "GENERIC", "PARQUET"
    ),
    "merge_on": ("TARGET", "SOURCE_AND_TARGET"),
    "primitive": ("string", "long", "int", "short", "double", "boolean", "byte", "date", "timestamp", "decimal", "variant", "struct"),
    "trim": ("LEFT", "RIGHT", "BOTH", "NONE"),
    "table_sync": ("NONE", "ADD", "ALL"),
    "materialization": ("TABLE", "VIEW", "MATERIALIZED_VIEW", "HYBRID"),
    "metric_type": ("DISCRETE", "CONTINUOUS", "TEXT", "NONE"),
    "load_strategy": ("ai.starlake.job.load.IngestionNameStrategy", "ai.starlake.job.load.IngestionTimeStrategy"),
    "transpile_dialect": ("ANY", "AMAZON_REDSHIFT", "DATABRICKS", "DUCK_DB", "GOOGLE_BIG_QUERY", "SNOWFLAKE"),
}  # fmt: skip

ROOTS = split_words("extract load transform env types tables table task application refs dag external")
"""The root keys of files."""
STRATEGIES = split_words("OVERWRITE APPEND UPSERT_BY_KEY UPSERT_BY_KEY_AND_TIMESTAMP DELETE_THEN_INSERT SCD2 OVERWRITE_BY_PARTITION")
"""The types of write strategies."""
STRATEGIES_WITH_KEY = split_words("UPSERT_BY_KEY UPSERT_BY_KEY_AND_TIMESTAMP DELETE_THEN_INSERT SCD2")

SHAPES: Mapping[str, str] = {
    "application": """
        env datasets incoming dags types macros tests writeStrategies loadStrategies metadata defaultWriteFormat
        defaultRejectedWriteFormat defaultAuditWriteFormat csvOutputExt loader rowValidatorClass scd2StartTimestamp
        scd2EndTimestamp root udfs sqlParameterPattern rejectAllOnError forceViewPattern forceDomainPattern forceTablePattern
        forceJobPattern forceTaskPattern useLocalFileSystem sessionDurationServe database tenant connectionRef loadConnectionRef
        transformConnectionRef jobIdEnvName archiveTablePattern version timezone duckdbPath testCsvNullString hiveInTest
        duckdbExtensions:string pythonLibsDir:string prunePartitionOnMerge:bool validateOnLoad:bool rejectWithValue:bool
        archive:bool sinkReplayToFile:bool csvOutput:bool privacyOnly:bool emptyIsNull:bool grouped:bool forceHalt:bool
        archiveTable:bool autoExportSchema:bool createSchemaIfNotExists:bool duckdbMode:bool duckDbEnableExternalAccess:bool
        syncSqlWithYaml:bool syncYamlWithDb:bool groupedMax:int rejectMaxRecords:int maxParCopy:int maxParTask:int
        longJobTimeoutMs:int shortJobTimeoutMs:int maxInteractiveRecords:int onExceptionRetries:int hadoop:map dsvOptions:map
        schedulePresets:map loadStrategyClass:load_strategy metrics:metrics audit:audit lock:lock area:area
        connections:{connection} jdbcEngines:{jdbc_engine} privacy:privacy internal:internal accessPolicies:access_policies
        sparkScheduling:spark_scheduling expectations:expectations kafka:kafka refs:[ref] dagRef:dag_ref http:http spark:{any}
        extra:{any}""",
    "types": "version:int types:[type]",
    "type": "name! pattern! primitiveType:primitive zone sample comment ddlMapping:map",
    "refs": "version:int refs:[ref]",
    "metrics": "path discreteMaxCardinality:int active:bool",
    "audit": "path sink:sink maxErrors database domain domainExpectation domainRejected detailedLoadAudit:bool active:bool sql",
    "lock": "path timeout:int pollTime:int refreshTime:int",
    "area": "incoming stage unresolved archive ingesting replay hiveDatabase",
    "connection": "type! sparkFormat loader quote separator options:map _transpileDialect:transpile_dialect",
    "jdbc_engine": """tables!:{table_ddl} quote!:string viewPrefix:string preActions:string partitionBy:string clusterBy:string
        strategyBuilder!:string columnRemarks:string tableRemarks:string""",
    "table_ddl": "createSql! pingSql selectSql",
    "privacy": "options:map",
    "internal": "cacheStorageLevel intermediateBigqueryFormat temporaryGcsBucket substituteVars:bool bqAuditSaveInBatchMode:bool",
    "access_policies": "apply:bool location database taxonomy",
    "spark_scheduling": "maxJobs:int poolName mode file",
    "expectations": "path active:bool failOnError:bool",
    "kafka": "serverOptions:map topics:{topic} cometOffsetsMode customDeserializers:map",
    "topic": "topicName maxRead:int fields:[] partitions:int replicationFactor:int createOptions:map accessOptions:map headers:{map}",
    "ref": "input!:input_ref output!:output_ref",
    "input_ref": "database domain table!",
    "output_ref": "database! domain! table!",
    "dag_ref": "load transform",
    "http": "interface port:int",
    "load": "name metadata:metadata comment tags:[] rename database",
    "table": """name! pattern! attributes!:[attribute] metadata:metadata comment streams:[] presql:[] postsql:[] tags:[] rls:[rls]
        expectations:[expectation] primaryKey:[] acl:[acl] rename sample filter patternSample""",
    "metadata": """format:format encoding multiline:bool array:bool withHeader:bool separator quote escape sink:sink directory extensions:[]
        ack options:map loader emptyIsNull:bool dagRef freshness:freshness nullValue schedule writeStrategy:write_strategy""",
    "sink": """connectionRef clustering:[] days:number requirePartitionFilter:bool materializedView:materialization enableRefresh:bool
        refreshIntervalMs:number id format extension sharding:[] partition:[string] coalesce:bool path:string options:map""",
    "write_strategy": "type types:map key:[] timestamp queryFilter on:merge_on startTs endTs",
    "freshness": "warn error",
    "attribute": """name! type array:bool required:bool privacy comment rename sample metricType:metric_type attributes:[attribute]
        position:position default tags:[] trim:trim script foreignKey ignore:bool accessPolicy""",
    "position": "first!:number last!:number",
    "expectation": "expect failOnError:bool",
    "acl": "role! grants!:[] name",
    "rls": "name! predicate grants!:[] description",
    "transform": "name tasks:[task] comment default:task",
    "task": """name sql streams:[] primaryKey:[] database domain table partition:[] presql:[] postsql:[] sink:sink rls:[rls]
        expectations:[expectation] acl:[acl] comment freshness:freshness attributes:[attribute] python tags:[] writeStrategy:write_strategy
        schedule dagRef taskTimeoutMs:int parseSQL:bool connectionRef:string syncStrategy:table_sync dataset_triggering_strategy:string""",
    "dag": "comment template! filename! options:map",
}  # fmt: skip
"""Kind of object -> its keys, in the notation above. The root keys of files that Starlake checks are among the kinds."""


@cache
def find_shape(name: str) -> Shape:
    """Return the shape of a kind of object, such as ``table`` or ``application``. Raise KeyError if there is no such kind."""
    keys, required = {}, []
    for word in SHAPES[name].split():
        written, _, of = word.partition(":")
        key = written.removesuffix("!")
        keys[key] = _parse_type(of)
        if key != written:
            required.append(key)
    return Shape(keys, tuple(required))


@cache
def find_keys(name: str) -> frozenset[str]:
    """Return the keys of a kind of object; see :func:`find_shape`."""
    return frozenset(find_shape(name).keys)


def _parse_type(text: str) -> Type:
    if not text:
        return Type("text")
    if text == "map":
        return Type("map", Type("text"))
    if text[0] in "[{":
        return Type("list" if text[0] == "[" else "map", _parse_type(text[1:-1]))
    if text in ENUMERATIONS:
        return Type("enum", name=text)
    if text in _BASIC:
        return Type(text)  # type: ignore[arg-type]
    return Type("object", name=text)
