"""A project with secrets everywhere, and a program that prints all of them, for the tests of masking."""

import html
import json
import re
import shlex
import textwrap
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

SPECIAL = "p@ss w\"o'r$d\\1/ü&x<y>"
"""Characters that a difficult password has. Every format escapes some of them."""


def build_core(number: int) -> str:
    """Return the part of a secret by which it is found, whatever was escaped around it."""
    return f"Mk{number:02d}q{(number * 7919 + 104729) % 99991:05d}Zt"


@dataclass
class Planted:
    """Secrets by number, and where each of them is.

    Attributes:
        places: number -> where it is.
    """

    places: dict[int, str] = field(default_factory=dict)

    def plant(self, place: str, *, special: bool = False) -> str:
        """Return a new secret."""
        number = len(self.places) + 1
        self.places[number] = place
        return build_core(number) + (SPECIAL if special else "")

    def find_leaks(self, data: bytes) -> list[str]:
        """Return the places whose secrets are in some bytes, in their own form or in base64."""
        found = []
        for number, place in self.places.items():
            encoded = b64encode(build_core(number).encode())[:12]
            if build_core(number).encode() in data or encoded in data:
                found.append(f"{number}: {place}")
        return found


def list_forms(secret: str) -> list[str]:
    """Return a secret as URLs, JSON, shells, SQL, Python, and HTML write it."""
    url = quote(secret, safe="")
    return [
        secret,
        url,
        re.sub("%..", lambda match: match.group().lower(), url),
        quote_plus(secret),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        json.dumps({"message": json.dumps({"x": secret})}),
        shlex.quote(secret),
        '"' + "".join(f"\\{c}" if c in '"\\$`' else c for c in secret) + '"',
        "'" + secret.replace("'", "''") + "'",
        repr(secret),
        html.escape(secret),
        b64encode(secret.encode()).decode(),
    ]


class PlantedProject:
    """The project.

    Attributes:
        secrets: what was planted.
        environ: variables of the process, some of them secret.
        variables: the setting ``variables``.
        env: the field ``env`` of executors.
        lines: what the program prints.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.secrets = Planted()
        plant = self.secrets.plant
        self.environ = {
            "PGPASSWORD": plant("environment", special=True),
            "GITHUB_TOKEN": plant("environment"),
            "AZURE_CONNECTION_STRING": f"DefaultEndpointsProtocol=https;AccountKey={plant('environment')}==;EndpointSuffix=x",
            "PG_PLAIN": plant("environment, named by a connection"),
            "PROXY": f"http://user:{plant('environment, in an address')}@proxy:8080",
        }
        self.variables = {"RUN_TOKEN": plant("setting variables")}
        self.env = {"EXECUTOR_SECRET": plant("env of the executor", special=True)}
        self.values = {
            "DB_PASSWORD": plant("env file", special=True),
            "API_TOKEN": plant("env file"),
            "AWS_SECRET_ACCESS_KEY": plant("env file"),
            "CUSTOMER_PIN": plant("env file, name of the setting secrets"),
            "ACME_LICENSE": plant("env file, pattern of the setting secrets"),
            "REPLICA": f"postgres://shop:{plant('env file, in an address')}@db:5432/shop",
            "WAREHOUSE": f"jdbc:sqlserver://db;user=sa;password={plant('env file, in a JDBC address')};encrypt=true",
            "SERVICE_CREDENTIALS": json.dumps(
                {"type": "service_account", "private_key": f"-----BEGIN\n{plant('env file, in JSON')}\n-----END"}
            ),
        }
        self.block = f"first {plant('env file, first line')}\nsecond {plant('env file, second line')}"
        self.connection = {
            "password": plant("connection", special=True),
            "sfToken": plant("connection"),
            "accountKey": plant("connection"),
            "fs.azure.account.key.x.net": plant("connection"),
            "sasl.jaas.config": f'Login required username="u" password="{plant("connection, in a value")}";',
            "proxy": f"https://u:{plant('connection, in an address')}@proxy",
            "passwordOfReplica": "${PG_PLAIN}",
        }
        self.url = f"jdbc:postgresql://u:{plant('url of a connection')}@db:5432/x?user=u&password={plant('query of a connection')}&ssl=true"
        self.spark = {"spark.hadoop.fs.s3a.secret.key": plant("spark of the application")}
        self.options = {
            "vault_token": plant("DAG option"),
            "sl_env_var": json.dumps(
                {"GRAPH_PASSWORD": plant("sl_env_var"), "GRAPH": f"bolt://neo:{plant('sl_env_var, in an address')}@graph"}
            ),
        }
        self.unknown = [
            f"starlake --password {plant('option of a printed command')} --x 1",
            f"run --api-key={plant('option of a printed command')}",
            f"mongodb+srv://app:{plant('printed address')}@cluster/x",
            f"jdbc:oracle:thin:scott/{plant('printed address of Oracle')}@db:1521:x",
            f"jdbc:mysql://db/x?useSSL=false&password={plant('printed JDBC query')}&x=1",
            f"ERROR Authorization: Bearer {plant('printed header')}",
            json.dumps({"user": "u", "password": plant("printed JSON")}),
            json.dumps({"message": json.dumps({"client_secret": plant("printed JSON in JSON")})}),
            f"CREATE SECRET s (TYPE S3, KEY_ID '{plant('printed SQL')}', SECRET '{plant('printed SQL')}')",
            f"{{'token': '{plant('printed Python')}'}}",
            f"WARN db.password: {plant('printed YAML')}",
            f"DB_PASSWORD={plant('printed variable')}",
            f"https://x/y?sig={plant('printed signature')}&se=1",
            f"-----BEGIN RSA PRIVATE KEY-----{plant('printed key')}-----END RSA PRIVATE KEY-----",
        ]
        self._write()

    def list_known(self) -> list[str]:
        """Return the secrets that the product can know, as they are."""
        texts = [*self.environ.values(), *self.variables.values(), *self.env.values(), *self.values.values(), *self.block.splitlines()]
        return [*texts, *self.connection.values(), self.url, *self.spark.values(), *self.options.values()]

    @property
    def lines(self) -> list[str]:
        """The output of a program that prints all secrets in all forms."""
        found = list(self.unknown)
        for text in self.list_known():
            found += list_forms(text) if "://" not in text and ";" not in text and "{" not in text else [text]
        return [line for text in found for line in text.splitlines()]

    def write_program(self, folder: Path, *, succeeds: bool) -> Path:
        """Write a program in place of ``starlake`` that prints all secrets on both streams, also as messages and exceptions."""
        (folder / "lines.txt").write_text("\n".join(self.lines), encoding="utf-8")
        levels = ("WARN", "ERROR", "Exception in thread main java.lang.RuntimeException:")
        lines = [f"{levels[number % 3]} {line}" for number, line in enumerate(self.lines)]
        (folder / "errors.txt").write_text("\n".join(lines), encoding="utf-8")
        program = folder / "starlake"
        code = 0 if succeeds else 3
        program.write_text(
            f'#!/bin/sh\ncd {shlex.quote(str(folder))}\necho "$0 $*"\nenv\ncat lines.txt\ncat errors.txt >&2\nexit {code}\n',
            encoding="utf-8",
        )
        program.chmod(0o755)
        return program

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")

    def _write(self) -> None:
        lines = [f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in self.values.items()]
        lines.append("  KEYS_PASSPHRASE: " + json.dumps(self.block))
        self.write("metadata/env.sl.yml", "version: 1\nenv:\n" + "\n".join(lines) + "\n")
        other = self.secrets.plant("env file of another environment")
        self.write("metadata/env.PROD.sl.yml", f"version: 1\nenv:\n  DB_PASSWORD: {other}\n")
        application = {
            "version": 1,
            "application": {
                "connectionRef": "duckdb",
                "loader": "native",
                "dagRef": {"load": "loads", "transform": "tasks"},
                "spark": self.spark,
                "connections": {
                    "duckdb": {
                        "type": "jdbc",
                        "options": {"url": "jdbc:duckdb:{{SL_ROOT}}/datasets/warehouse.db", "driver": "org.duckdb.DuckDBDriver"},
                    },
                    "pg": {"type": "jdbc", "options": {"url": self.url, **self.connection}},
                },
            },
        }
        self.write("metadata/application.sl.yml", json.dumps(application, ensure_ascii=False, indent=1))
        for name, template in {"loads": "load/dagster__scheduled_table", "tasks": "transform/dagster__scheduled_task"}.items():
            dag = {
                "comment": f"{name} with {{{{API_TOKEN}}}}",
                "template": f"{template}__shell.py.j2",
                "filename": "{{domain}}_" + f"{name}.py",
                "options": {**self.options, "tags": "token_{{API_TOKEN}}"},
            }
            self.write(f"metadata/dags/{name}.sl.yml", json.dumps({"version": 1, "dag": dag}, ensure_ascii=False))
        self.write(
            "metadata/load/shop/_config.sl.yml",
            """
            version: 1
            load:
              metadata: {directory: '{{SL_ROOT}}/datasets/incoming/shop', format: DSV, withHeader: true, separator: ";"}
            """,
        )
        self.write(
            "metadata/load/shop/orders.sl.yml",
            r"""
            version: 1
            table:
              name: orders
              pattern: "orders-.*\\.csv"
              comment: "from {{API_TOKEN}}, {{REPLICA}}"
              tags: ["{{API_TOKEN}}"]
              attributes: [{name: id, type: long, comment: "key {{CUSTOMER_PIN}}"}]
              expectations: [{expect: "nulls('id', '{{API_TOKEN}}')"}]
            """,
        )
        macro = "select count(*) from sl_this where {{ col }} is null and '{{ token }}' = 'x'"
        self.write("metadata/expectations/default.j2", f"{{% macro nulls(col, token) %}}{macro}{{% endmacro %}}\n")
        self.write(
            "metadata/transform/kpi/good.sql", "select 1 as a, '{{API_TOKEN}}' as b from shop.orders where '{{DB_USER}}' is not null\n"
        )
        self.write(
            "metadata/transform/kpi/good.sl.yml", "version: 1\ntask: {comment: 'with {{API_TOKEN}}', writeStrategy: {type: OVERWRITE}}\n"
        )
        literal = self.secrets.plant("literal of SQL")
        self.write(
            "metadata/transform/kpi/bad.sql",
            f"""
            -- SL_PRESQL
            CREATE SECRET s (TYPE S3X, KEY_ID 'k', SECRET '{literal}')
            -- SL_SQL
            select '{{{{DB_PASSWORD}}}}' as a, '{{{{API_TOKEN}}}}' as b, cast('{{{{CUSTOMER_PIN}}}}' as integer) as c
            """,
        )
        self.write("metadata/transform/kpi/worse.sql", "select cast('{{API_TOKEN}}' as integer) as c, '{{RUN_TOKEN}}' as d\n")
