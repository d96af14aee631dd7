"""Where everything of one cluster lies below its state folder."""

import os
from dataclasses import dataclass
from pathlib import Path


def default_root(name: str = "default") -> Path:
    """Return the state folder of the cluster called *name* for this user."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "bertjob" / "local" / name


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one cluster; nothing here touches the disk except ``prepare``."""

    root: Path

    @property
    def state(self) -> Path:
        """Return the file that tells ports, pids and readiness; no secret is in it."""
        return self.root / "state.json"

    @property
    def settings(self) -> Path:
        """Return the file with the choices of the latest ``up``."""
        return self.root / "settings.json"

    @property
    def lock(self) -> Path:
        """Return the file that the supervising process holds locked while it lives."""
        return self.root / "lock"

    @property
    def control(self) -> Path:
        """Return the socket on which the supervising process takes requests."""
        return self.root / "control.sock"

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.root / "kubeconfig"

    def kubeconfig_of(self, identity: str) -> Path:
        """Return the kubeconfig of one identity of the control plane."""
        return self.kubeconfig if identity == "admin" else self.pki / f"{identity}.kubeconfig"

    @property
    def pki(self) -> Path:
        """Return the folder of keys, certificates and tokens."""
        return self.root / "pki"

    @property
    def tokens(self) -> Path:
        """Return the API server's token file."""
        return self.pki / "tokens.csv"

    @property
    def s3_credentials(self) -> Path:
        """Return the file with the S3 gateway's key pair; it survives ``down``."""
        return self.root / "s3-credentials.json"

    @property
    def s3_data(self) -> Path:
        """Return the folder that the S3 gateway serves: one folder per bucket; it survives ``down``."""
        return self.root / "s3" / "data"

    @property
    def s3_meta(self) -> Path:
        """Return the folder of the S3 gateway's own attributes; it survives ``down``."""
        return self.root / "s3" / "meta"

    @property
    def etcd(self) -> Path:
        """Return etcd's data folder; every ``up`` starts with an empty one."""
        return self.root / "etcd"

    @property
    def kserve(self) -> Path:
        """Return the folder of KServe's rendered manifests and of its manager's TMPDIR."""
        return self.root / "kserve"

    @property
    def kserve_manifests(self) -> Path:
        """Return the file with everything that KServe's charts install, as a JSON list."""
        return self.kserve / "manifests.json"

    @property
    def kubelet(self) -> Path:
        """Return the process kubelet's own folder; serving.crt, serving.key and ca.crt lie ready in it."""
        return self.root / "kubelet"

    @property
    def kubectl_cache(self) -> Path:
        """Return kubectl's discovery cache: per cluster, because ports are used again."""
        return self.root / "kubectl-cache"

    @property
    def logs(self) -> Path:
        """Return the folder with one log file per part."""
        return self.root / "logs"

    def log_of(self, part: str) -> Path:
        """Return the log file of one part."""
        return self.logs / f"{part}.log"

    @property
    def fresh_each_time(self) -> tuple[Path, ...]:
        """Return the folders that every ``up`` empties first."""
        return (self.etcd, self.pki, self.kserve, self.kubelet, self.kubectl_cache)
