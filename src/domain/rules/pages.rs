//! What a person reads who was refused: for each rule one page, shown by `upgrade-guard rules CODE` and `docs/rules.md`.
//!
//! The examples are what the guard says in its tests; `tests/rules.rs` looks for each of them there.

/// The page of a code.
pub struct Page {
    /// A refusal as users see it.
    pub example: &'static str,
    /// The usual causes, most frequent first.
    pub causes: &'static [&'static str],
    /// Commands that show what is so, each with what to look for.
    pub look: &'static [(&'static str, &'static str)],
    /// What to do in Argo CD, Flux, Helm and with kubectl.
    pub engines: [(&'static str, &'static str); 4],
    /// What is particular about taking it less strictly; empty where nothing is.
    pub soften: &'static str,
}

/// A code that refuses and is no rule: no mode and no override is for it.
pub struct Unruled {
    /// The code.
    pub code: &'static str,
    /// What it demands.
    pub demands: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Its page.
    pub page: Page,
}

const STATUS: (&str, &str) =
    ("upgrade-guard status -n NAMESPACE", "what runs, what waits for what, and what may be done next");
const PLAN: (&str, &str) = (
    "upgrade-guard plan --live -n NAMESPACE --to COMPONENT=VERSION",
    "every step to there in order, or what is in the way",
);
const ROLLOUT: (&str, &str) =
    ("kubectl -n NAMESPACE rollout status deployment/NAME", "whether the rollout that is waited for goes on");

/// For what becomes legal by itself, once others are done.
const WAITING: [(&str, &str); 4] = [
    (
        "Argo CD",
        "It retries 5 times, about two and a half minutes in all. Set syncPolicy.retry.limit: -1, order the parts by sync \
         waves, or set onNotYet: Hold in the policy.",
    ),
    (
        "Flux",
        "One Kustomization stops here for ever. Set onNotYet: Hold, or give each component a Kustomization of its own with \
         dependsOn, wait: true and retryInterval: 1m. In a HelmRelease: upgrade.strategy.name: RetryOnFailure.",
    ),
    (
        "Helm",
        "It tries every object: run helm upgrade again when the others are done. Leave out --rollback-on-failure, which \
         takes back what passed.",
    ),
    ("kubectl", "Wait for the rollout, then apply again."),
];

/// For what passes by itself in a moment.
const AGAIN: [(&str, &str); 4] = [
    ("Argo CD", "It retries by itself."),
    ("Flux", "It retries after retryInterval, which is interval unless set: set it to 1m."),
    ("Helm", "Run helm upgrade again."),
    ("kubectl", "Apply again."),
];

/// For what no waiting makes legal.
const ANOTHER_VERSION: [(&str, &str); 4] = [
    (
        "Argo CD",
        "Retries do not help. Change the version in Git to the one that the refusal names; with server-side diff the \
         whole Application stops until then.",
    ),
    ("Flux", "Change the version in Git to the one that the refusal names; the next revision is tried by itself."),
    ("Helm", "Run helm upgrade with the version that the refusal names. What was not refused is applied already."),
    ("kubectl", "Apply the version that the refusal names. kubectl rollout undo is a change like any other."),
];

/// For what the hook does.
const HOOK: [(&str, &str); 4] = [
    (
        "Argo CD",
        "The PreSync Job of upgrade-guard recipe argocd does it. Self-heal and selective syncs run no hooks: sync the \
         whole Application.",
    ),
    (
        "Flux",
        "The Kustomization pre-deploy of upgrade-guard recipe flux does it; the others need dependsOn: pre-deploy.",
    ),
    ("Helm", "The pre-upgrade Job of upgrade-guard recipe helm does it."),
    ("kubectl", "Run upgrade-guard presync -n NAMESPACE --to COMPONENT=VERSION, then apply again."),
];

/// For what is wrong in a manifest.
const MANIFEST: [(&str, &str); 4] = [
    ("Argo CD", "Mend it in Git and sync."),
    ("Flux", "Mend it in Git."),
    ("Helm", "Mend the chart's values and run helm upgrade."),
    ("kubectl", "Mend the manifest and apply it."),
];

pub(super) static ORDER: Page = Page {
    example: "[UG-ORDER] stoa-gateway 2.2.0 -> 2.3.0 must wait for control-plane-api 2.3.0: running 2.3.0 (1/2 pods), \
              2.2.0 (1/2). Retry when its rollout is complete.",
    causes: &[
        "One commit raises everything, and the engine applies it in an order of its own.",
        "Upstream is at its version, but old pods of it are still there.",
        "One of several workloads of an upstream component was forgotten.",
        "The rollout of an upstream component is stuck, or someone paused it.",
        "On the way back upstream went first: whoever calls it has to go back before.",
    ],
    look: &[STATUS, PLAN, ROLLOUT],
    engines: WAITING,
    soften: "",
};

pub(super) static SKEW: Page = Page {
    example: "[UG-SKEW] control-plane-api 2.3.0 -> 2.4.0 is too far from control-plane-ui 2.2.0: control-plane-ui running \
              2.2.0 (2/2 pods); control-plane-ui may be 1 line behind control-plane-api. Bring control-plane-ui nearer \
              first and let its old pods go, then retry.",
    causes: &[
        "A component stayed behind in the last upgrade, and its peer would now go a line too far.",
        "Old pods of a peer are still there: they count until they are gone.",
        "The window (skew) in the policy is narrower than what the versions really bear.",
    ],
    look: &[STATUS, PLAN, ("kubectl explain upgradepolicy.spec.components.skew", "what behind and ahead mean")],
    engines: WAITING,
    soften: "A wider window for this pair (skew) is more honest than a mode for all.",
};

pub(super) static HOP: Page = Page {
    example: "[UG-HOP] stoa-gateway 2.2.0 -> 2.4.0 is 2 lines at once: the last completed version is 2.2.0, a move may \
              cross 1 line. Go to 2.3.0 first.",
    causes: &[
        "A release was left out, such as after a long freeze.",
        "The version before never completed: a hop counts from the last one that did.",
        "Another line was asked for in the middle of a rollout.",
        "A PlatformRelease with requiredStop lies between.",
    ],
    look: &[PLAN, STATUS, ("kubectl get platformreleases", "the release lines in their order, and required stops")],
    engines: ANOTHER_VERSION,
    soften: "spec.maxHop lets every move cross more lines.",
};

pub(super) static SCHEMA: Page = Page {
    example: "[UG-SCHEMA] api 2.2.0 -> 2.3.0 must wait for the database migrations: the database is at r3, 2.3.0 needs r4 \
              (PlatformRelease 8). Run the migrations: upgrade-guard presync (the hook Job) does where the policy says \
              how. Then retry.",
    causes: &[
        "The hook did not run: self-heal, a selective sync, a rollback or kubectl run none.",
        "The hook ran with --skip-migrations, or its migration failed.",
        "Nothing tells which revision the version needs.",
        "On the way back: a revision that breaks older versions is in the database.",
        "The guard cannot read the revision, or the record of it is old.",
    ],
    look: &[
        STATUS,
        (
            "kubectl -n NAMESPACE get platform NAME -o yaml",
            "status.database: the revision, when and by whom it was read",
        ),
        ("kubectl -n NAMESPACE logs job/NAME", "what the hook did and why it stopped"),
    ],
    engines: HOOK,
    soften: "Softer, old code may meet a database that it cannot work with.",
};

pub(super) static CRD: Page = Page {
    example: "[UG-CRD] control-plane-api 2.2.0 -> 2.3.0 must wait for CRD tools.gostoa.dev: changed since presync \
              prepared 2.3.0. Run upgrade-guard presync (the hook Job), which applies them, then retry.",
    causes: &[
        "Helm installs the CRDs of a chart once and never upgrades them; Flux leaves them out of upgrades, too.",
        "The CRDs are in another Application, which was not synced yet.",
        "Someone changed a CRD after the hook had prepared the upgrade.",
        "The hook did not run.",
    ],
    look: &[
        ("kubectl get crds", "whether they are there"),
        ("upgrade-guard crds diff FOLDER", "what differs from those that are wanted, and whether that is safe"),
        STATUS,
    ],
    engines: HOOK,
    soften: "",
};

pub(super) static SUPPORTED: Page = Page {
    example: "[UG-SUPPORTED] keycloak 26.0.0 is not a supported version: supported is >=24.0.0, <25.0.0 or >=25.0.0, \
              <26.0.0. Choose a supported version, or extend the range in the policy.",
    causes: &[
        "A bot raised a third-party image further than the platform was tested with.",
        "The platform supports the version by now, and the policy does not say so yet.",
    ],
    look: &[("kubectl get upgradepolicy NAME -o yaml", "spec.components: supported, the ranges of each")],
    engines: ANOTHER_VERSION,
    soften: "To support a version, extend the range; it may carry a warning (warn).",
};

pub(super) static ZERO_DOWNTIME: Page = Page {
    example: "[UG-ZERODOWNTIME] stoa-gateway has no disruption budget: no PodDisruptionBudget selects its pods. Add one \
              with minAvailable 1 (or maxUnavailable 1).",
    causes: &[
        "One replica, by the manifest, by kubectl scale or by an autoscaler's minimum.",
        "No PodDisruptionBudget selects the pods, or it lets none of them go.",
        "No readiness probe, so that a pod counts as ready before it is.",
        "Strategy Recreate, or maxUnavailable as large as the number of replicas.",
    ],
    look: &[
        ("kubectl -n NAMESPACE get deployments,poddisruptionbudgets,horizontalpodautoscalers", "replicas and budgets"),
        STATUS,
    ],
    engines: MANIFEST,
    soften: "It warns unless the policy says Enforce. spec.zeroDowntime.minReplicas sets the number.",
};

pub(super) static PRECONDITION: Page = Page {
    example: "[UG-PRECONDITION] control-plane-api 2.2.0 -> 2.3.0 must wait for the hook: no presync run is recorded for \
              2.3.0. Run upgrade-guard presync (the hook Job), which reports every precondition, then retry.",
    causes: &[
        "The hook did not run, or ran for another version.",
        "A precondition did not hold: a backup that is too old, a pod that is not well.",
        "What the hook found is older than spec.preparedFor.",
        "A breaking change on the way is not acknowledged by name.",
        "A freeze window is open.",
    ],
    look: &[
        STATUS,
        ("upgrade-guard presync -n NAMESPACE --to COMPONENT=VERSION --dry-run", "every precondition, changing nothing"),
        ("kubectl -n NAMESPACE logs job/NAME", "what the hook found"),
    ],
    engines: HOOK,
    soften: "Where no hook runs, leave spec.preconditions out.",
};

pub(super) static VERSION: Page = Page {
    example: "[UG-VERSION] control-plane-ui 2.2.0 -> latest names no version: nothing tells which version 'latest' is. \
              Use a version tag that no label or annotation contradicts, set the annotation guard.gostoa.dev/version on \
              the pod template, or list the tag or digest in a PlatformRelease.",
    causes: &[
        "A tag that moves (latest), a commit (dev-1f3a9c2), or a digest alone.",
        "A stale label app.kubernetes.io/version beside a new tag: sources that disagree tell nothing.",
        "A major step: without PlatformReleases nothing tells how many lines it crosses.",
        "There are PlatformReleases, and none lists the version.",
        "The version of a peer cannot be told, so that nothing can be compared with it.",
    ],
    look: &[
        STATUS,
        (
            "kubectl -n NAMESPACE get deployment NAME -o yaml",
            "the image, and labels and annotations of the pod template",
        ),
        ("kubectl get platformreleases", "what is listed"),
    ],
    engines: MANIFEST,
    soften: "Softer, a version that cannot be told passes every other rule unseen.",
};

/// The guard cannot judge: it refuses what it has not seen the whole of.
pub static UNAVAILABLE: Unruled = Unruled {
    code: "UG-UNAVAILABLE",
    demands: "The guard has seen the whole install, could read it anew, and could leave its intent on the Platform.",
    remedy: "Retry in a moment. If it stays, mend what the refusal names.",
    page: Page {
        example: "[UG-UNAVAILABLE] the guard cannot judge this change now: Deployments are not listed yet. Retry in a \
                  moment.",
        causes: &[
            "The guard has just started and is still listing.",
            "The API server is slow, or throttles.",
            "The guard lacks a right, for example after its ClusterRole was changed.",
            "Many changes of one install in the same moment.",
        ],
        look: &[
            ("kubectl -n upgrade-guard get pods", "whether it runs and is ready"),
            ("kubectl -n upgrade-guard logs deployment/upgrade-guard", "which call failed"),
            ("kubectl get --raw /readyz", "whether the API server is well"),
        ],
        engines: AGAIN,
        soften: "onUnavailable: Allow in the policy admits what looks legal, with a warning.",
    },
};
