"""The part of a pod that a user may shape: a closed schema, the rest is Linnet's.

Security context, probes, ports, command and the volumes of the contracts are never the user's, so
a field that is not here cannot be used to widen what a pod may do.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BeforeValidator, StringConstraints

from linnet.api.shared import (
    BY_NAME,
    Extension,
    Int64,
    Model,
    Quantity,
    Rule,
    Text63,
    Text253,
    Text256,
    Text512,
    Text1024,
    Text4096,
    at_most_one,
    exactly_one,
)

ResourceQuantity: TypeAlias = Annotated[
    str,
    StringConstraints(
        max_length=32,
        pattern=(
            r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
            r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
        ),
    ),
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    Extension((("x-kubernetes-int-or-string", True),), drop=("type",)),
]
"""A quantity of Kubernetes, which may also be written as an integer."""

Labels: TypeAlias = Annotated[Mapping[str, Text63], MaxLen(32)]
Annotations: TypeAlias = Annotated[Mapping[str, Text1024], MaxLen(32)]


def prefixes_are_ours(field: str) -> Rule:
    """Refuse keys with the prefixes that Linnet writes, in a map that may be absent."""
    name = field.rsplit(".", 1)[-1]
    return Rule(
        f"!has(self.{name}) || self.{name}.all(k, "
        "!k.startsWith('linnet.dev/') && !k.startsWith('app.kubernetes.io/'))",
        f"{field} must not use the prefixes 'linnet.dev/' and 'app.kubernetes.io/': "
        "Linnet writes those",
    )


class LocalReference(Model):
    """An object in the same namespace, by name."""

    name: Annotated[Text253, MinLen(1)]
    """Name of the object."""


class Resources(Model):
    """What a container asks for and may use."""

    requests: Annotated[Mapping[str, ResourceQuantity], MaxLen(8)] | None = None
    """What is set aside for the container, by resource."""
    limits: Annotated[Mapping[str, ResourceQuantity], MaxLen(8)] | None = None
    """What the container can use at most, by resource."""


class KeySelector(Model):
    """One key of a Secret or ConfigMap."""

    name: Annotated[Text253, MinLen(1)]
    """Name of the object, in the same namespace."""
    key: Annotated[Text253, MinLen(1)]
    """The key to read."""
    optional: bool | None = None
    """Whether the object or its key may be missing."""


class EnvSource(Model):
    """Where the value of a variable comes from."""

    secret_key_ref: KeySelector | None = None
    """A key of a Secret."""
    config_map_key_ref: KeySelector | None = None
    """A key of a ConfigMap."""


class EnvVar(Model):
    """One environment variable."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        at_most_one(
            "an env entry must have at most one of `value` and `valueFrom`", "value", "valueFrom"
        ),
        Rule(
            "!self.name.startsWith('LINNET_')",
            "template.env must not set names that start with 'LINNET_': Linnet writes those",
        ),
    )

    name: Annotated[Text253, MinLen(1)]
    """Name of the variable; one that Linnet sets, other than 'LINNET_…', is replaced."""
    value: Text4096 | None = None
    """The value, as it is."""
    value_from: EnvSource | None = None
    """Where to read the value."""


class EnvFrom(Model):
    """All keys of a ConfigMap or Secret as variables."""

    prefix: Text253 | None = None
    """Put before each key."""
    config_map_ref: LocalReference | None = None
    """The ConfigMap to read."""
    secret_ref: LocalReference | None = None
    """The Secret to read."""


class Toleration(Model):
    """A taint that the pod may be scheduled in spite of."""

    key: Text253 | None = None
    """The taint's key; absent with operator Exists means all."""
    operator: Literal["Exists", "Equal"] | None = None
    """How the value is compared: Equal by default."""
    value: Text63 | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; absent means all."""
    toleration_seconds: Int64 | None = None
    """How long a NoExecute taint is tolerated; absent means for ever."""


class SelectorRequirement(Model):
    """One requirement on a label of pods or namespaces."""

    key: Annotated[Text253, MinLen(1)]
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared with the values."""
    values: Annotated[tuple[Text63, ...], MaxLen(16)] | None = None
    """The values, for In and NotIn."""


class LabelSelector(Model):
    """Pods or namespaces, by their labels; all requirements must hold."""

    match_labels: Annotated[Mapping[str, Text63], MaxLen(16)] | None = None
    """Labels with exactly these values."""
    match_expressions: Annotated[tuple[SelectorRequirement, ...], MaxLen(16)] | None = None
    """Requirements on labels."""


class NodeRequirement(Model):
    """One requirement on a label or field of nodes."""

    key: Annotated[Text253, MinLen(1)]
    """The label's or field's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How it is compared with the values."""
    values: Annotated[tuple[Text63, ...], MaxLen(16)] | None = None
    """The values; one integer for Gt and Lt."""


class NodeSelectorTerm(Model):
    """Nodes that meet all of these requirements."""

    match_expressions: Annotated[tuple[NodeRequirement, ...], MaxLen(16)] | None = None
    """Requirements on labels."""
    match_fields: Annotated[tuple[NodeRequirement, ...], MaxLen(16)] | None = None
    """Requirements on fields."""


class NodeSelector(Model):
    """Nodes that meet at least one of the terms."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], MinLen(1), MaxLen(16)]
    """The terms; one of them must hold."""


class PreferredNodes(Model):
    """Nodes that are preferred, with a weight."""

    weight: Annotated[int, Ge(1), Le(100)]
    """How much this preference counts, from 1 to 100."""
    preference: NodeSelectorTerm
    """The nodes."""


class NodeAffinity(Model):
    """The nodes that the pod may or should run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Nodes that the pod must run on."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredNodes, ...], MaxLen(16)] | None
    ) = None
    """Nodes that the pod should run on."""


class PodAffinityTerm(Model):
    """Pods that the pod is to be near to or far from."""

    topology_key: Annotated[Text253, MinLen(1)]
    """The label of nodes that says what near means, such as kubernetes.io/hostname."""
    label_selector: LabelSelector | None = None
    """The pods."""
    namespace_selector: LabelSelector | None = None
    """The namespaces to look in."""
    namespaces: Annotated[tuple[Text63, ...], MaxLen(16)] | None = None
    """The namespaces to look in, by name; the pod's own when nothing is said."""
    match_label_keys: Annotated[tuple[Text253, ...], MaxLen(16)] | None = None
    """Labels of the pod itself whose values are added to the selector."""
    mismatch_label_keys: Annotated[tuple[Text253, ...], MaxLen(16)] | None = None
    """Labels of the pod itself whose values are excluded."""


class PreferredPods(Model):
    """Pods that are preferred as neighbours, with a weight."""

    weight: Annotated[int, Ge(1), Le(100)]
    """How much this preference counts, from 1 to 100."""
    pod_affinity_term: PodAffinityTerm
    """The pods."""


class PodAffinity(Model):
    """Other pods that decide where the pod runs."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PodAffinityTerm, ...], MaxLen(16)] | None
    ) = None
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredPods, ...], MaxLen(16)] | None
    ) = None
    """What should hold."""


class Affinity(Model):
    """Where the pod runs, as in core/v1."""

    node_affinity: NodeAffinity | None = None
    """The nodes."""
    pod_affinity: PodAffinity | None = None
    """Pods to be near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to be far from."""


class TopologySpreadConstraint(Model):
    """How pods are spread over nodes or zones, as in core/v1."""

    max_skew: Annotated[int, Ge(1)]
    """By how many pods two domains may differ."""
    topology_key: Annotated[Text253, MinLen(1)]
    """The label of nodes that names a domain."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens where it cannot hold."""
    label_selector: LabelSelector | None = None
    """The pods that are counted."""
    min_domains: Annotated[int, Ge(1)] | None = None
    """The least number of domains."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes that the pod cannot run on are left out."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes with taints that are not tolerated are left out."""
    match_label_keys: Annotated[tuple[Text253, ...], MaxLen(16)] | None = None
    """Labels of the pod itself whose values are added to the selector."""


class ConfigMapVolume(Model):
    """A ConfigMap as files."""

    name: Annotated[Text253, MinLen(1)]
    """Name of the ConfigMap."""


class SecretVolume(Model):
    """A Secret as files."""

    secret_name: Annotated[Text253, MinLen(1)]
    """Name of the Secret."""


class ClaimVolume(Model):
    """A volume that exists already."""

    claim_name: Annotated[Text253, MinLen(1)]
    """Name of the PersistentVolumeClaim."""


class EmptyDirVolume(Model):
    """A folder that lives as long as the pod."""

    size_limit: Quantity | None = None
    """How much it may hold."""


class Volume(Model):
    """A volume together with its mount."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "a volume must have exactly one of `configMap`, `secret`, `persistentVolumeClaim`, "
            "`emptyDir`",
            "configMap", "secret", "persistentVolumeClaim", "emptyDir",
        ),
    )  # fmt: skip

    name: Annotated[Text63, MinLen(1)]
    """Name of the volume."""
    mount_path: Annotated[
        Text256,
        Rule(
            "self.startsWith('/') && !self.matches('/(/|[.]{1,2}(/|$))')",
            "mountPath must be an absolute path without '//', '.' and '..'",
        ),
        Rule(
            "!self.matches('^/(etc|var/run)/linnet(/|$)')",
            "mountPath must not lie in '/etc/linnet' or '/var/run/linnet'",
        ),
    ]
    """Where it appears in the container."""
    read_only: bool = True
    """Whether the container may only read it."""
    config_map: ConfigMapVolume | None = None
    """A ConfigMap as files."""
    secret: SecretVolume | None = None
    """A Secret as files."""
    persistent_volume_claim: ClaimVolume | None = None
    """A volume that exists already."""
    empty_dir: EmptyDirVolume | None = None
    """A folder that lives as long as the pod."""


class PodTemplate(Model):
    """The part of the pod that is yours; security context, probes, ports and command are not."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        prefixes_are_ours("template.labels"),
        prefixes_are_ours("template.annotations"),
    )

    image: Annotated[Text512, MinLen(1)] | None = None
    """Container image; the operator's setting when absent."""
    image_pull_secrets: Annotated[tuple[LocalReference, ...], MaxLen(8), BY_NAME] | None = None
    """Secrets for the image registry."""
    resources: Resources | None = None
    """What the container asks for and may use; a default per program when absent."""
    env: Annotated[tuple[EnvVar, ...], MaxLen(64), BY_NAME] | None = None
    """Environment variables."""
    env_from: Annotated[tuple[EnvFrom, ...], MaxLen(8)] | None = None
    """ConfigMaps and Secrets whose keys become variables."""
    node_selector: Annotated[Mapping[str, Text63], MaxLen(16)] | None = None
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], MaxLen(16)] | None = None
    """Taints that the pod may be scheduled in spite of."""
    affinity: Affinity | None = None
    """Nodes and pods that decide where the pod runs."""
    topology_spread_constraints: (
        Annotated[tuple[TopologySpreadConstraint, ...], MaxLen(8)] | None
    ) = None
    """How pods are spread over nodes or zones."""
    priority_class_name: Text253 = ""
    """Priority class of the pod; none when empty."""
    service_account_name: Text253 = ""
    """Service account of the pod; its token is never mounted."""
    labels: Labels | None = None
    """Labels of the pod, besides Linnet's own."""
    annotations: Annotations | None = None
    """Annotations of the pod, besides Linnet's own."""
    volumes: Annotated[tuple[Volume, ...], MaxLen(16), BY_NAME] | None = None
    """Volumes, each with its mount."""
