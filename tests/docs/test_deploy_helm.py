"""deploy/helm-values.yaml has the keys and types of Dagster's chart ``dagster-user-deployments``."""

from typing import Any

import yaml
from jsonschema import Draft202012Validator
from markdown_blocks import REPOSITORY

VALUES = yaml.safe_load((REPOSITORY / "deploy/helm-values.yaml").read_text(encoding="utf-8"))


def close(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


STRING: dict[str, Any] = {"type": "string"}
OBJECT: dict[str, Any] = {"type": "object"}
NAMED_OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "object", "required": ["name"]}}
PROBE: dict[str, Any] = {"type": "object", "properties": {"enabled": {"type": "boolean"}}, "required": ["enabled"]}
DEPLOYMENT = close(
    {
        "name": STRING,
        "image": close(
            {
                "repository": STRING,
                "tag": {"type": ["string", "integer", "null"]},
                "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
            },
            "repository",
            "pullPolicy",
        ),
        "dagsterApiGrpcArgs": {"type": "array", "items": STRING},
        "codeServerArgs": {"type": "array", "items": STRING},
        "includeConfigInLaunchedRuns": close({"enabled": {"type": "boolean"}}, "enabled"),
        "deploymentNamespace": STRING,
        "port": {"type": "integer"},
        "env": {"type": "array", "items": close({"name": STRING, "value": STRING, "valueFrom": OBJECT}, "name")},
        "envConfigMaps": NAMED_OBJECTS,
        "envSecrets": NAMED_OBJECTS,
        "annotations": OBJECT,
        "nodeSelector": OBJECT,
        "affinity": OBJECT,
        "tolerations": {"type": "array"},
        "podSecurityContext": OBJECT,
        "securityContext": OBJECT,
        "resources": close({"requests": OBJECT, "limits": OBJECT}),
        "readinessProbe": PROBE,
        "livenessProbe": OBJECT,
        "startupProbe": OBJECT,
        "labels": OBJECT,
        "volumes": NAMED_OBJECTS,
        "volumeMounts": {"type": "array", "items": {"type": "object", "required": ["name", "mountPath"]}},
        "initContainers": NAMED_OBJECTS,
        "sidecarContainers": NAMED_OBJECTS,
        "serviceAccount": OBJECT,
    },
    "name",
    "image",
    "port",
)
CHART = close(
    {
        "deployments": {"type": "array", "items": DEPLOYMENT, "minItems": 1},
        "dagsterHome": STRING,
        "postgresqlSecretName": STRING,
        "celeryConfigSecretName": STRING,
        "imagePullSecrets": NAMED_OBJECTS,
        "serviceAccount": close({"create": {"type": "boolean"}, "name": STRING, "annotations": OBJECT}, "create", "name", "annotations"),
        "global": close(
            {name: STRING for name in ("postgresqlSecretName", "dagsterHome", "serviceAccountName", "celeryConfigSecretName")},
            "postgresqlSecretName",
            "dagsterHome",
            "serviceAccountName",
            "celeryConfigSecretName",
        ),
    },
    "dagsterHome",
    "postgresqlSecretName",
    "celeryConfigSecretName",
    "deployments",
    "imagePullSecrets",
    "serviceAccount",
    "global",
)
"""The values that the chart of Dagster 1.13 accepts, but without unknown keys."""


def test_the_values_fit_the_chart() -> None:
    assert [f"{'/'.join(map(str, e.path))}: {e.message}" for e in Draft202012Validator(CHART).iter_errors(VALUES)] == []


def test_wrong_values_do_not_fit() -> None:
    (deployment,) = VALUES["deployments"]
    wrong = {**VALUES, "deployments": [{**deployment, "port": "4000", "codeServerArgs": "-m x"}]}
    assert len(list(Draft202012Validator(CHART).iter_errors(wrong))) == 2


def test_volumes_of_the_values_are_mounted_where_the_image_expects_them() -> None:
    (deployment,) = VALUES["deployments"]
    image = (REPOSITORY / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert {volume["name"] for volume in deployment["volumes"]} == {mount["name"] for mount in deployment["volumeMounts"]}
    assert all(mount["mountPath"] in image for mount in deployment["volumeMounts"])
    assert f"EXPOSE {deployment['port']}" in image
