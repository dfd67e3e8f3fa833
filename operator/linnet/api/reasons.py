"""Every reason of a condition or an event, and what it means to the person who reads it.

`MEANING` is the text of the reference pages and of `kubectl linnet explain <Reason>`: first what is
so, then what to do. `BY_CONDITION` says which reasons a condition of a kind may have.
"""

# ruff: noqa: E501 - a meaning is one line, so that all can be read as a table

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """One situation each; `MEANING` says which."""

    # All kinds
    NOT_JUDGED_YET = "NotJudgedYet"
    NOT_YET_SUPPORTED = "NotYetSupported"
    INVALID_SPEC = "InvalidSpec"
    INVALID_TEMPLATE = "InvalidTemplate"
    MODEL_NOT_ALLOWED = "ModelNotAllowed"
    NAME_TAKEN = "NameTaken"
    SUSPENDED = "Suspended"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    STORE_UNAVAILABLE = "StoreUnavailable"
    NOT_REACHED = "NotReached"
    NOT_NEEDED = "NotNeeded"
    ALIAS_SET = "AliasSet"

    # TrainingJob
    QUEUED = "Queued"
    TRAINING = "Training"
    REGISTERING = "Registering"
    COMPLETED = "Completed"
    GATE_REFUSED = "GateRefused"
    INVALID_DATA = "InvalidData"
    TARGET_NOT_SUPPORTED = "TargetNotSupported"
    UNKNOWN_ESTIMATOR = "UnknownEstimator"
    TRAINER_FAILED = "TrainerFailed"
    INVALID_RESULT = "InvalidResult"
    OUT_OF_MEMORY = "OutOfMemory"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    VERSION_CREATED = "VersionCreated"
    ADOPTED = "Adopted"
    BELOW_THRESHOLD = "BelowThreshold"
    ABOVE_LIMIT = "AboveLimit"
    WORSE_THAN_CHAMPION = "WorseThanChampion"
    UNCLEAR = "Unclear"
    CHAMPION_SAW_HOLDOUT = "ChampionSawHoldout"
    WIDENED = "Widened"
    CHECK_FAILED = "CheckFailed"
    NOT_WORSE_THAN_CHAMPION = "NotWorseThanChampion"
    NO_CHAMPION = "NoChampion"
    ALIAS_NOT_ASKED = "AliasNotAsked"
    NEWER_VERSION_HOLDS_ALIAS = "NewerVersionHoldsAlias"

    # ModelDeployment
    SERVING = "Serving"
    PROBATION = "Probation"
    PREPARING = "Preparing"
    SHADOWING = "Shadowing"
    CANARY_IN_PROGRESS = "CanaryInProgress"
    PAUSED = "Paused"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    CANDIDATE_UNHEALTHY = "CandidateUnhealthy"
    UNDONE = "Undone"
    SAME_CONTENT_AS_REJECTED = "SameContentAsRejected"
    SUPERSEDING = "Superseding"
    MODEL_NOT_FOUND = "ModelNotFound"
    NO_HEALTHY_REPLICAS = "NoHealthyReplicas"
    MINIMUM_REPLICAS = "MinimumReplicas"
    FIRST_REVISION_STARTING = "FirstRevisionStarting"
    ROLLOUT_COMPLETE = "RolloutComplete"
    STEP_ADVANCED = "StepAdvanced"
    HOLDING_FOR_EVIDENCE = "HoldingForEvidence"
    LOW_TRAFFIC = "LowTraffic"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    SAMPLE_RATIO_MISMATCH = "SampleRatioMismatch"
    SHARED_INCIDENT = "SharedIncident"
    ROUTE_NOT_PROGRAMMED = "RouteNotProgrammed"
    MANUAL_PAUSE = "ManualPause"
    TIMEOUT = "Timeout"
    INCOMPATIBLE_INPUTS = "IncompatibleInputs"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CREDENTIALS_MISSING = "CredentialsMissing"
    UNSCHEDULABLE = "Unschedulable"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    RESOLVED = "Resolved"
    UNVERIFIED = "Unverified"
    NOT_SERVABLE = "NotServable"
    PROGRAMMED = "Programmed"
    REPLICA_WEIGHTED = "ReplicaWeighted"
    WAITING = "Waiting"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    REFS_NOT_RESOLVED = "RefsNotResolved"
    ROUTE_OVERLAP = "RouteOverlap"
    GATEWAY_NOT_FOUND = "GatewayNotFound"
    SCRAPED = "Scraped"
    UNDECIDED = "Undecided"
    REGRESSION = "Regression"
    NO_REGRESSION = "NoRegression"
    INVALID = "Invalid"
    AS_CONFIGURED = "AsConfigured"
    SAME_INPUTS = "SameInputs"
    INPUTS_DIFFER = "InputsDiffer"
    NOT_COMPARABLE = "NotComparable"
    NOT_WRITTEN = "NotWritten"
    CHAMPION_ALIAS_MOVED = "ChampionAliasMoved"
    CHAMPION_ALIAS_TAKEN = "ChampionAliasTaken"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    ABORTED = "Aborted"
    PROVENANCE_MISMATCH = "ProvenanceMismatch"
    LOAD_FAILED = "LoadFailed"
    SELF_CHECK_FAILED = "SelfCheckFailed"
    CRASH_LOOP = "CrashLoop"
    FORMAT_NOT_ALLOWED = "FormatNotAllowed"
    ARTIFACT_MISSING = "ArtifactMissing"
    FEATURES_INVALID = "FeaturesInvalid"
    OBJECTIVE_MISSED = "ObjectiveMissed"

    # DriftPolicy
    MONITORING = "Monitoring"
    WAITING_FOR_FIRST_CHECK = "WaitingForFirstCheck"
    CHECKING = "Checking"
    NO_DATA = "NoData"
    TOO_FEW_SAMPLES = "TooFewSamples"
    INSUFFICIENT_REFERENCE = "InsufficientReference"
    SCHEMA_MISMATCH = "SchemaMismatch"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    REFERENCE_MISSING = "ReferenceMissing"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    CHECK_LATE = "CheckLate"
    FEATURE_DRIFT = "FeatureDrift"
    PREDICTION_DRIFT = "PredictionDrift"
    QUALITY_BREACH = "QualityBreach"
    PERFORMANCE_LOSS = "PerformanceLoss"
    ESTIMATED_LOSS = "EstimatedLoss"
    WITHIN_THRESHOLD = "WithinThreshold"
    JOB_RUNNING = "JobRunning"
    NOT_ASKED = "NotAsked"
    WAITING_FOR_BREACHES = "WaitingForBreaches"
    COOLDOWN = "Cooldown"
    BUDGET_SPENT = "BudgetSpent"
    TOO_FEW_NEW_SAMPLES = "TooFewNewSamples"
    SUGGESTED = "Suggested"
    RETRAINING_FAILED = "RetrainingFailed"
    INVALID_SCHEDULE = "InvalidSchedule"
    MODEL_MISMATCH = "ModelMismatch"
    ALIAS_MISMATCH = "AliasMismatch"

    # Events only
    JOB_CREATED = "JobCreated"
    RUN_STARTED = "RunStarted"
    GATE_PASSED = "GatePassed"
    ALIAS_MOVED = "AliasMoved"
    POD_FAILED = "PodFailed"
    CANDIDATE_FOUND = "CandidateFound"
    REVISION_CREATED = "RevisionCreated"
    REVISION_READY = "RevisionReady"
    ROLLOUT_STARTED = "RolloutStarted"
    WEIGHT_SET = "WeightSet"
    PROMOTED = "Promoted"
    ROLL_BACK_DECIDED = "RollBackDecided"
    CANDIDATE_REJECTED = "CandidateRejected"
    CANDIDATE_WITHDRAWN = "CandidateWithdrawn"
    PROBATION_ENDED = "ProbationEnded"
    REQUEST_DONE = "RequestDone"
    REQUEST_REFUSED = "RequestRefused"
    REVISION_DELETED = "RevisionDeleted"
    CHECK_STARTED = "CheckStarted"
    CHECK_DONE = "CheckDone"
    DRIFT_FOUND = "DriftFound"
    DRIFT_ENDED = "DriftEnded"
    RETRAINING_STARTED = "RetrainingStarted"
    RETRAINING_SUGGESTED = "RetrainingSuggested"
    RETRAINING_BLOCKED = "RetrainingBlocked"
    RETRAINING_ENDED = "RetrainingEnded"


R = Reason

MEANING: Final[dict[Reason, str]] = {
    R.NOT_JUDGED_YET: "Linnet has seen the object and has not judged this yet. Wait a moment; if it stays, look whether the operator runs.",
    R.NOT_YET_SUPPORTED: "The spec asks for something that this version of Linnet does not do; the message names the fields. Remove them or upgrade; nothing was created or changed, and what serves goes on.",
    R.INVALID_SPEC: "The spec was refused by Linnet's own validation, as happens when the CRDs are older than the operator. Correct the field that the message names, and apply the CRDs of this version.",
    R.INVALID_TEMPLATE: "The API server refused an object made from `template`. Correct the field that the message names.",
    R.MODEL_NOT_ALLOWED: "The operator's settings do not allow this namespace to use that model name. Choose a name with an allowed prefix, or ask the administrator for LINNET_MODEL_PREFIXES.",
    R.NAME_TAKEN: "An object that Linnet did not make has the name of one that it must make. Delete or rename that object, or give this one another name.",
    R.SUSPENDED: "`suspend` is true: no pod runs. Set it to false to go on.",
    R.REGISTRY_UNAVAILABLE: "MLflow does not answer. Nothing that serves is touched, and Linnet keeps trying. Look at the MLflow server.",
    R.STORE_UNAVAILABLE: "The artifact store does not answer. Nothing that serves is touched, and Linnet keeps trying. Look at the store and at the Secret with its credentials.",
    R.NOT_REACHED: "That point has not been reached, or never will be because of what happened before. Nothing to do.",
    R.NOT_NEEDED: "Nothing asks for this now. Nothing to do.",
    R.ALIAS_SET: "The alias points at the version. Nothing to do.",
    R.QUEUED: "The Job exists and no pod of it runs yet. If it stays, look at the pod's events and at the queue.",
    R.TRAINING: "A pod trains; `status.progress` says how far it is. Wait.",
    R.REGISTERING: "The gates passed, and the version is being registered. Wait.",
    R.COMPLETED: "The model is trained, its gates passed, its version is registered, and the alias is set where one was asked for. Nothing to do.",
    R.GATE_REFUSED: "The model did not pass a gate, so no version was registered; the message gives the numbers, and the run in MLflow holds the model. Improve the data or the pipeline, or change the gate, in another TrainingJob.",
    R.INVALID_DATA: "The data cannot be trained on: missing, empty, without a column that the spec names, or with one class only. Correct what the message names, in another TrainingJob.",
    R.TARGET_NOT_SUPPORTED: "The target is not what the task predicts, such as texts with `task: Regression` or more than 100 classes. Choose another target or task.",
    R.UNKNOWN_ESTIMATOR: "The estimator or one of its parameters does not exist in the trainer's scikit-learn. Correct `pipeline.estimator`, in another TrainingJob.",
    R.TRAINER_FAILED: "The trainer ended with an error; the message has its last line. Look at the log of the Job's pod.",
    R.INVALID_RESULT: "The program of `spec.custom` wrote no result document that can be believed: it cannot be read, leaves out a gate, contradicts itself, or names a version that is not its own. Correct the program as the message says, then create another TrainingJob.",
    R.OUT_OF_MEMORY: "The trainer was killed because it used more memory than its limit. Raise `template.resources.limits.memory`, or read fewer rows, in another TrainingJob.",
    R.DEADLINE_EXCEEDED: "The training took longer than `activeDeadlineSeconds`. Raise it, or give the pod more CPU, in another TrainingJob.",
    R.RETRIES_EXHAUSTED: "More pods failed than `backoffLimit` allows. Look at the log of the last pod.",
    R.VERSION_CREATED: "The version is registered in MLflow. Nothing to do.",
    R.ADOPTED: "A finished run of this very spec was found and taken over, so nothing was trained twice. Nothing to do.",
    R.BELOW_THRESHOLD: "A metric is below the `minimum` of its gate; the message gives both. No version was registered.",
    R.ABOVE_LIMIT: "The model overfits, differs between the values of a column, is slower or is larger than a gate allows; the message gives the figure and the limit. No version was registered.",
    R.WORSE_THAN_CHAMPION: "The model is worse than the champion by more than the margin. No version was registered.",
    R.UNCLEAR: "The holdout is too small to say that the model is not worse than the champion. The message says what margin it could resolve, and how many days or groups it would need: take a longer holdout or a larger margin.",
    R.CHAMPION_SAW_HOLDOUT: "The champion was trained on rows of this holdout, so a comparison would be unfair. Take a holdout that lies after the champion's training rows.",
    R.WIDENED: "The model asks for columns that the champion does not. If clients send them, list them in a gate's `schema.allowNewColumns`.",
    R.CHECK_FAILED: "A standing check failed, or the check pod ended with an error. Correct what the message names; a standing check of a TrainingJob is let go by name in `waivers`.",
    R.NOT_WORSE_THAN_CHAMPION: "The model was compared with the champion and is not worse by more than the margin; the alias points at it. Nothing to do.",
    R.NO_CHAMPION: "There is no champion to compare with, so the gate passed; the alias points at the version. Nothing to do.",
    R.ALIAS_NOT_ASKED: "`model.alias` is empty, so no alias was moved. Nothing to do.",
    R.NEWER_VERSION_HOLDS_ALIAS: "The alias points at a newer version already and was left there. Nothing to do.",
    R.SERVING: "The version that spec asks for serves all traffic. Nothing to do.",
    R.PROBATION: "The new champion serves, and the old one is kept ready for `strategy.probation` or serves the share of `strategy.holdback`. Wait, or send the request `undo`.",
    R.PREPARING: "The candidate's pods are being made and have no traffic yet. Wait.",
    R.SHADOWING: "The candidate gets copies of requests, whose answers nobody sees. Wait.",
    R.CANARY_IN_PROGRESS: "The candidate serves a share of the traffic and is compared with the champion. Wait, or send `promote` or `abort`.",
    R.PAUSED: "The weight is held, by `spec.paused` or after a timeout; rollback stays armed. Set `paused` to false, or send `resume` or `promote`.",
    R.ROLLING_BACK: "The traffic goes back to the champion. Wait.",
    R.ROLLED_BACK: "The candidate was taken back and is remembered as rejected; the champion serves all traffic. Register a better version, or send `retry` with the revision.",
    R.CANDIDATE_UNHEALTHY: "The candidate's containers kept restarting, or none of its pods was ready, while the champion was healthy; it was rolled back. Look at the pods' logs, then register a better version or send `retry`.",
    R.UNDONE: "A person asked to go back to the previous champion; the undone revision is rejected. Register a better version, or send `retry`.",
    R.SAME_CONTENT_AS_REJECTED: "The version has the same content as one that was rejected, so it gets no traffic. Register another model, or send `retry` with the rejected revision.",
    R.SUPERSEDING: "A newer version is asked for, and the one on trial is being withdrawn first. Wait.",
    R.MODEL_NOT_FOUND: "The registered model has no such alias or version. Weights stay as they are. Correct `spec.model`, or set the alias in MLflow.",
    R.NO_HEALTHY_REPLICAS: "No pod of the version that has the traffic is ready. Look at its pods.",
    R.MINIMUM_REPLICAS: "A healthy version serves all traffic. Nothing to do.",
    R.FIRST_REVISION_STARTING: "The first version is starting, and nothing serves yet. Wait; if it stays, look at its pods.",
    R.ROLLOUT_COMPLETE: "The rollout has ended. Nothing to do.",
    R.STEP_ADVANCED: "The rollout went on to the next step. Wait.",
    R.HOLDING_FOR_EVIDENCE: "The step waits until it is clear whether the candidate is worse, or until `maxDuration`. Wait, or send `promote` or `abort`.",
    R.LOW_TRAFFIC: "The candidate has answered fewer requests than `minCandidateRequests`, however long that takes. Send traffic, lower the number, or send `promote`.",
    R.METRICS_UNAVAILABLE: "An arm's counters could not be read for three intervals, or its queries find nothing; the weight is held. Look whether the operator reaches port 8081 of the pods, or whether Prometheus knows the series that the message names.",
    R.SAMPLE_RATIO_MISMATCH: "The arms do not get the shares that were configured, so their comparison would mislead. Look at the gateway, then send `resume`.",
    R.SHARED_INCIDENT: "Both arms became worse at the same time, so the cause is not the candidate. When it is over, send `resume`.",
    R.ROUTE_NOT_PROGRAMMED: "The gateway has not taken over the weights. `TrafficProgrammed` says why.",
    R.MANUAL_PAUSE: "`spec.paused` is true. Set it to false to go on.",
    R.TIMEOUT: "The hold reached `maxDuration`, and the rollout was paused. Look at the evidence, then send `resume`, `promote` or `abort`.",
    R.INCOMPATIBLE_INPUTS: "The candidate asks for other inputs than the champion, and `strategy.requireCompatibleInputs` is true. `InputsCompatible` names the columns.",
    R.IMAGE_PULL_FAILED: "An image cannot be pulled. Correct `server.template.image` or its pull secret; Linnet keeps trying.",
    R.CREDENTIALS_MISSING: "Registry or store refused the pod's credentials. Correct the Secret that `credentialsSecretName` names; Linnet keeps trying.",
    R.UNSCHEDULABLE: "No node takes the pod. Lower its requests or add nodes; Linnet keeps trying.",
    R.PROGRESS_DEADLINE_EXCEEDED: "The revision is not ready after `strategy.progressDeadline`. Look at its pods; Linnet keeps trying.",
    R.RESOLVED: "The registered model and its version exist. Nothing to do.",
    R.UNVERIFIED: "The version carries no digest of Linnet's trainer, so its origin is not proved. Nothing to do; `provenance: Required` would refuse it until the tag `linnet.dev/content-digest` adopts it.",
    R.NOT_SERVABLE: "The version has no form that the server can serve, such as clusters, which have no `predict`. Name another version; train it with Linnet, or log it with a model file of an allowed format.",
    R.PROGRAMMED: "The gateway reports the weights that Linnet wrote. Nothing to do.",
    R.REPLICA_WEIGHTED: "Without a route the share of traffic is the share of pods; the realised one is in `status.traffic`. Nothing to do.",
    R.WAITING: "The route is written, and the gateway has not answered yet. If it stays, look at the gateway's controller.",
    R.ROUTE_NOT_ACCEPTED: "The Gateway refuses the route; the message has its words. Correct `route`, or the listener's allowed routes.",
    R.REFS_NOT_RESOLVED: "The gateway does not find a Service of the route. If it stays, look at the gateway's controller.",
    R.ROUTE_OVERLAP: "Another route claims the same hosts and paths. Remove it, or change `route.hostnames`.",
    R.GATEWAY_NOT_FOUND: "The Gateway that `route.parentRefs` names does not exist. Create it or correct the name.",
    R.SCRAPED: "The counters of both arms were read in the last three intervals. Nothing to do.",
    R.UNDECIDED: "There is not enough evidence yet to say whether the candidate is worse. Wait.",
    R.REGRESSION: "The candidate is worse than the champion, at the configured probability of error; the message gives the numbers. It was rolled back: register a better version.",
    R.NO_REGRESSION: "The candidate is not worse than the champion. Nothing to do.",
    R.INVALID: "The comparison cannot be trusted, since the traffic was not split as configured. `SplitAsConfigured` says more.",
    R.AS_CONFIGURED: "The arms get the shares that were configured. Nothing to do.",
    R.SAME_INPUTS: "The candidate asks for the same inputs as the champion. Nothing to do.",
    R.INPUTS_DIFFER: "The candidate asks for other inputs than the champion; the message names the columns. Make sure that clients send them.",
    R.NOT_COMPARABLE: "One of the versions has no manifest with its columns, so inputs cannot be compared. Nothing to do.",
    R.NOT_WRITTEN: "`model.championAlias` is empty, so no alias is written. Nothing to do.",
    R.CHAMPION_ALIAS_MOVED: "Somebody else moved the champion alias; Linnet leaves it there, and traffic is untouched. If it was a mistake, set it back in MLflow.",
    R.CHAMPION_ALIAS_TAKEN: "An older ModelDeployment owns this champion alias; this one serves without writing it. Give it another `championAlias`, or an empty one.",
    R.ROLLOUT_IN_PROGRESS: "This waits until the rollout has ended: a change of `route`, or a retraining. Wait, or send `abort`.",
    R.ABORTED: "A person ended the rollout with `abort`; the revision is rejected. Register a better version, or send `retry`.",
    R.PROVENANCE_MISMATCH: "Files, data, run or signature are not what the registry records of the version, or it carries no digest and `provenance` is Required. Register the model again, or adopt it.",
    R.LOAD_FAILED: "The server could not load the model. Look at the pod's log; train with the library versions of the server.",
    R.SELF_CHECK_FAILED: "The loaded model does not give the answers that were stored with it. Train with the library versions of the server.",
    R.CRASH_LOOP: "The server crashed again and again before it had traffic. Look at the pod's log.",
    R.FORMAT_NOT_ALLOWED: "The version exists only in forms that `model.allowFormats` does not list. Add the form, or register the model in another.",
    R.FEATURES_INVALID: "`features.feast` does not fit the repository or the version. Correct the field that the message names.",
    R.ARTIFACT_MISSING: "The store has no artifact under the version's address. Register the model again.",
    R.OBJECTIVE_MISSED: "The candidate broke an `objective`, which does not depend on the champion; it was rolled back. Register a better version.",
    R.MONITORING: "Data arrive and are judged on time. Nothing to do.",
    R.WAITING_FOR_FIRST_CHECK: "No check has been due yet; `status.nextScheduleTime` says when. Wait, or send the request `check`.",
    R.CHECKING: "A check runs. Wait.",
    R.NO_DATA: "The window holds no rows. Look whether data still arrive, and at `window.until`.",
    R.TOO_FEW_SAMPLES: "The window holds fewer rows than `window.minSamples` and was not judged. Take a longer `lookback`, or lower the number.",
    R.INSUFFICIENT_REFERENCE: "The reference has too few days for the false alarm probability that was asked for; the message says how many it needs. Train on more days, or choose `method: DayPermutation`.",
    R.SCHEMA_MISMATCH: "The live rows do not have the columns of the reference; the message names them. Correct the source.",
    R.SOURCE_UNAVAILABLE: "The source cannot be read. Correct `source`, or look at the store and its credentials.",
    R.REFERENCE_MISSING: "The champion has no profile to compare with. Train it with Linnet, or give a `reference`.",
    R.DEPLOYMENT_NOT_FOUND: "There is no ModelDeployment of that name in this namespace. Create it or correct `modelDeploymentRef`.",
    R.CHECK_LATE: "A check was due and has not run. Look at the check's Job and at the operator.",
    R.FEATURE_DRIFT: "The features differ from the reference beyond the threshold; `status.columns` names those that differ most.",
    R.PREDICTION_DRIFT: "The model's scores differ from the reference beyond the threshold.",
    R.QUALITY_BREACH: "Too many values are missing, out of range or new. Look at where the data come from.",
    R.PERFORMANCE_LOSS: "The metric, by labels, is below its minimum.",
    R.ESTIMATED_LOSS: "The metric, as estimated from the scores, has dropped by more than was allowed. Wait for labels, or look at the report.",
    R.WITHIN_THRESHOLD: "The last window does not differ beyond the threshold. Nothing to do.",
    R.JOB_RUNNING: "A TrainingJob of this policy runs. Wait.",
    R.NOT_ASKED: "The policy has no `retrain` and only reports. Nothing to do.",
    R.WAITING_FOR_BREACHES: "Fewer windows have drifted than `retrain.when` asks for. Nothing to do.",
    R.COOLDOWN: "The last retraining or promotion is less than `retrain.cooldown` ago. Wait.",
    R.BUDGET_SPENT: "`retrain.budget` is used up. Wait, or raise it.",
    R.TOO_FEW_NEW_SAMPLES: "Fewer rows have come since the last training than `retrain.minNewSamples`. Wait.",
    R.SUGGESTED: "A retraining is due, and `mode: Suggest` leaves it to a person; `status.retrain.suggestion` says what to start.",
    R.RETRAINING_FAILED: "`retrain.maxFailures` retrainings in a row failed or were refused. Look at the last TrainingJob, then send the request `resume`.",
    R.INVALID_SCHEDULE: "`schedule` or `timeZone` cannot be read. Correct it.",
    R.MODEL_MISMATCH: "The template trains another model than the deployment serves; the message has both names. Correct `retrain.template.spec.model.name`.",
    R.ALIAS_MISMATCH: "The template moves another alias than the deployment follows; the message has both names. Correct `retrain.template.spec.model.alias`.",
    R.JOB_CREATED: "The Job of the training was created.",
    R.RUN_STARTED: "The trainer opened its run in MLflow.",
    R.GATE_PASSED: "The model passed a gate.",
    R.ALIAS_MOVED: "The alias was moved to the new version.",
    R.POD_FAILED: "A pod of the training failed; another is started while `backoffLimit` allows it.",
    R.CANDIDATE_FOUND: "The version that spec asks for is neither the champion nor rejected: it becomes the candidate.",
    R.REVISION_CREATED: "The objects of a revision were created.",
    R.REVISION_READY: "All pods of a revision are ready.",
    R.ROLLOUT_STARTED: "The rollout of the candidate began.",
    R.WEIGHT_SET: "The shares of the traffic were changed.",
    R.PROMOTED: "The candidate has become champion.",
    R.ROLL_BACK_DECIDED: "It was decided to take the candidate back; the message says why.",
    R.CANDIDATE_REJECTED: "The revision is remembered as rejected and gets no traffic until the request `retry`.",
    R.CANDIDATE_WITHDRAWN: "The candidate is no longer asked for; it was taken out of traffic and is not rejected.",
    R.PROBATION_ENDED: "Probation and holdback have ended, and the old champion is removed.",
    R.REQUEST_DONE: "A request was carried out.",
    R.REQUEST_REFUSED: "A request was refused; the message says why.",
    R.REVISION_DELETED: "The objects of a revision that is no longer needed were deleted.",
    R.CHECK_STARTED: "A check was started.",
    R.CHECK_DONE: "A check has ended.",
    R.DRIFT_FOUND: "A window differs beyond the threshold where the one before did not.",
    R.DRIFT_ENDED: "The last window no longer differs beyond the threshold.",
    R.RETRAINING_STARTED: "A TrainingJob was created because of drift.",
    R.RETRAINING_SUGGESTED: "A retraining is due and is left to a person.",
    R.RETRAINING_BLOCKED: "A retraining is due and was not started; the message says why.",
    R.RETRAINING_ENDED: "A retraining has ended.",
}  # fmt: skip

_FAILURES: Final = (
    R.GATE_REFUSED, R.INVALID_DATA, R.TARGET_NOT_SUPPORTED, R.UNKNOWN_ESTIMATOR, R.TRAINER_FAILED,
    R.INVALID_RESULT, R.OUT_OF_MEMORY, R.DEADLINE_EXCEEDED, R.RETRIES_EXHAUSTED,
)  # fmt: skip
_REFUSALS: Final = (
    R.BELOW_THRESHOLD, R.ABOVE_LIMIT, R.WORSE_THAN_CHAMPION, R.UNCLEAR, R.CHAMPION_SAW_HOLDOUT,
    R.WIDENED, R.CHECK_FAILED,
)  # fmt: skip

REJECTIONS: Final = (
    R.REGRESSION, R.CANDIDATE_UNHEALTHY, R.ABORTED, R.UNDONE, R.PROVENANCE_MISMATCH, R.LOAD_FAILED,
    R.SELF_CHECK_FAILED, R.CRASH_LOOP, R.FORMAT_NOT_ALLOWED, R.NOT_SERVABLE, R.ARTIFACT_MISSING,
    R.FEATURES_INVALID, R.OBJECTIVE_MISSED, R.SAME_CONTENT_AS_REJECTED,
)  # fmt: skip
"""Why a revision is rejected or rolled back, in `status.rejected` and `status.decision`."""

BY_CONDITION: Final[dict[str, dict[str, tuple[Reason, ...]]]] = {
    "TrainingJob": {
        "Complete": (
            R.NOT_JUDGED_YET, R.QUEUED, R.TRAINING, R.SUSPENDED, R.REGISTERING,
            R.REGISTRY_UNAVAILABLE, R.COMPLETED, *_FAILURES,
        ),
        "Failed": _FAILURES,
        "Suspended": (R.SUSPENDED,),
        "Registered": (
            R.NOT_JUDGED_YET, R.VERSION_CREATED, R.ADOPTED, R.NOT_REACHED, *_REFUSALS,
        ),
        "Promoted": (
            R.NOT_JUDGED_YET, R.NOT_WORSE_THAN_CHAMPION, R.NO_CHAMPION, R.ALIAS_SET,
            R.ALIAS_NOT_ASKED, R.NEWER_VERSION_HOLDS_ALIAS, R.NOT_REACHED, *_REFUSALS,
        ),
        "Stalled": (
            R.NOT_YET_SUPPORTED, R.INVALID_SPEC, R.INVALID_TEMPLATE, R.MODEL_NOT_ALLOWED,
            R.NAME_TAKEN, *_FAILURES,
        ),
    },
    "ModelDeployment": {
        "Ready": (
            R.NOT_JUDGED_YET, R.SERVING, R.PROBATION, R.PREPARING, R.SHADOWING,
            R.CANARY_IN_PROGRESS, R.PAUSED, R.ROLLING_BACK, R.ROLLED_BACK, R.CANDIDATE_UNHEALTHY,
            R.UNDONE, R.SAME_CONTENT_AS_REJECTED, R.SUPERSEDING, R.MODEL_NOT_FOUND, R.NOT_SERVABLE,
            R.REGISTRY_UNAVAILABLE, R.NO_HEALTHY_REPLICAS,
        ),
        "Available": (
            R.NOT_JUDGED_YET, R.MINIMUM_REPLICAS, R.NO_HEALTHY_REPLICAS, R.FIRST_REVISION_STARTING,
        ),
        "Progressing": (
            R.NOT_JUDGED_YET, R.ROLLOUT_COMPLETE, R.STEP_ADVANCED, R.HOLDING_FOR_EVIDENCE,
            R.LOW_TRAFFIC, R.METRICS_UNAVAILABLE, R.SAMPLE_RATIO_MISMATCH, R.SHARED_INCIDENT,
            R.ROUTE_NOT_PROGRAMMED, R.MANUAL_PAUSE, R.TIMEOUT, R.INCOMPATIBLE_INPUTS,
            R.STORE_UNAVAILABLE, R.IMAGE_PULL_FAILED, R.CREDENTIALS_MISSING, R.UNSCHEDULABLE,
            R.PROGRESS_DEADLINE_EXCEEDED,
        ),
        "ModelResolved": (
            R.NOT_JUDGED_YET, R.RESOLVED, R.UNVERIFIED, R.MODEL_NOT_FOUND, R.REGISTRY_UNAVAILABLE,
            R.NOT_SERVABLE,
        ),
        "TrafficProgrammed": (
            R.NOT_JUDGED_YET, R.PROGRAMMED, R.REPLICA_WEIGHTED, R.WAITING, R.ROUTE_NOT_ACCEPTED,
            R.REFS_NOT_RESOLVED, R.ROUTE_OVERLAP, R.GATEWAY_NOT_FOUND,
        ),
        "MetricsAvailable": (
            R.NOT_JUDGED_YET, R.SCRAPED, R.NOT_NEEDED, R.METRICS_UNAVAILABLE,
        ),
        "AnalysisSatisfied": (
            R.NOT_JUDGED_YET, R.NOT_NEEDED, R.UNDECIDED, R.REGRESSION, R.NO_REGRESSION, R.INVALID,
        ),
        "SplitAsConfigured": (
            R.NOT_JUDGED_YET, R.AS_CONFIGURED, R.NOT_NEEDED, R.SAMPLE_RATIO_MISMATCH,
        ),
        "InputsCompatible": (
            R.NOT_JUDGED_YET, R.SAME_INPUTS, R.INPUTS_DIFFER, R.NOT_COMPARABLE,
        ),
        "Promoted": (
            R.NOT_JUDGED_YET, R.ALIAS_SET, R.NOT_WRITTEN, R.NOT_REACHED, R.REGISTRY_UNAVAILABLE,
            R.CHAMPION_ALIAS_MOVED, R.CHAMPION_ALIAS_TAKEN,
        ),
        "Stalled": (
            R.ROLLED_BACK, R.SAME_CONTENT_AS_REJECTED, R.NOT_YET_SUPPORTED, R.INVALID_SPEC,
            R.INVALID_TEMPLATE, R.MODEL_NOT_ALLOWED, R.NAME_TAKEN, R.ROLLOUT_IN_PROGRESS,
        ),
    },
    "DriftPolicy": {
        "Ready": (
            R.NOT_JUDGED_YET, R.MONITORING, R.WAITING_FOR_FIRST_CHECK, R.CHECKING, R.SUSPENDED,
            R.NO_DATA, R.TOO_FEW_SAMPLES, R.INSUFFICIENT_REFERENCE, R.SCHEMA_MISMATCH,
            R.SOURCE_UNAVAILABLE, R.REFERENCE_MISSING, R.DEPLOYMENT_NOT_FOUND, R.CHECK_FAILED,
            R.CHECK_LATE,
        ),
        "Drifted": (
            R.NOT_JUDGED_YET, R.FEATURE_DRIFT, R.PREDICTION_DRIFT, R.QUALITY_BREACH,
            R.PERFORMANCE_LOSS, R.ESTIMATED_LOSS, R.WITHIN_THRESHOLD, R.TOO_FEW_SAMPLES,
            R.INSUFFICIENT_REFERENCE,
        ),
        "Retraining": (
            R.NOT_JUDGED_YET, R.JOB_RUNNING, R.NOT_NEEDED, R.NOT_ASKED, R.WAITING_FOR_BREACHES,
            R.COOLDOWN, R.BUDGET_SPENT, R.ROLLOUT_IN_PROGRESS, R.TOO_FEW_NEW_SAMPLES, R.SUGGESTED,
            R.RETRAINING_FAILED, R.MODEL_MISMATCH, R.ALIAS_MISMATCH, R.INVALID_SCHEDULE,
        ),
        "Stalled": (
            R.RETRAINING_FAILED, R.INVALID_SCHEDULE, R.MODEL_MISMATCH, R.ALIAS_MISMATCH,
            R.NOT_YET_SUPPORTED, R.INVALID_SPEC, R.INVALID_TEMPLATE, R.MODEL_NOT_ALLOWED,
            R.NAME_TAKEN,
        ),
    },
}  # fmt: skip

EVENTS: Final[dict[str, tuple[Reason, ...]]] = {
    "TrainingJob": (
        R.JOB_CREATED, R.RUN_STARTED, R.GATE_PASSED, R.GATE_REFUSED, R.VERSION_CREATED,
        R.ALIAS_MOVED, R.POD_FAILED,
    ),
    "ModelDeployment": (
        R.CANDIDATE_FOUND, R.REVISION_CREATED, R.REVISION_READY, R.ROLLOUT_STARTED, R.WEIGHT_SET,
        R.STEP_ADVANCED, R.PROMOTED, R.CHAMPION_ALIAS_MOVED, R.ROLL_BACK_DECIDED, R.ROLLED_BACK,
        R.CANDIDATE_REJECTED, R.CANDIDATE_WITHDRAWN, R.PROBATION_ENDED, R.REQUEST_DONE,
        R.REQUEST_REFUSED, R.REVISION_DELETED,
    ),
    "DriftPolicy": (
        R.CHECK_STARTED, R.CHECK_DONE, R.DRIFT_FOUND, R.DRIFT_ENDED, R.RETRAINING_STARTED,
        R.RETRAINING_SUGGESTED, R.RETRAINING_BLOCKED, R.RETRAINING_ENDED,
    ),
}  # fmt: skip
"""Events besides the transitions of conditions, which give an event with the condition's reason."""
