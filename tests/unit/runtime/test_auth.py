"""Where the credentials come from, and how the server is reached."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from bertjob_operator.runtime import auth

LOOPBACK = "http://127.0.0.1:1234"


def _write(path: Path, *, server: str = LOOPBACK, cluster: Mapping[str, object] | None = None) -> Path:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide what this machine has configured."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


async def test_order_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument comes before $KUBECONFIG, that before ~/.kube/config."""
    _write(tmp_path / "home" / ".kube" / "config", server="http://home")
    in_home = await auth.load()
    monkeypatch.setenv("KUBECONFIG", str(_write(tmp_path / "env", server="http://env")))
    in_env = await auth.load()
    named = await auth.load(_write(tmp_path / "arg", server="http://arg"))

    assert [each.host for each in (in_home, in_env, named)] == ["http://home", "http://env", "http://arg"]


async def test_service_account_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a kubeconfig the pod's own account is used, and its token is read again when it was refused."""
    token, certificate = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    certificate.write_text("a certificate")
    monkeypatch.setattr(auth, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    credentials = await auth.load()
    before = await credentials.headers()
    token.write_text("second")

    assert credentials.host == "https://10.0.0.1:443"
    assert before == {"Authorization": "Bearer first"}
    assert await credentials.headers(renew=True) == {"Authorization": "Bearer second"}


async def test_service_account_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was named is used, whatever kubeconfig there is, and says so when it lacks something."""
    _write(tmp_path / "home" / ".kube" / "config", server="http://home")
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("mine")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")

    with pytest.raises(ValueError, match=f"{folder} cannot be used: .*ca.crt is missing"):
        await auth.load(service_account=folder)
    (folder / "ca.crt").write_text("a certificate")
    credentials = await auth.load(service_account=folder)

    assert credentials.host == "https://127.0.0.1:6443"
    assert await credentials.headers() == {"Authorization": "Bearer mine"}


async def test_nothing_configured() -> None:
    """Without any configuration the error says what to do."""
    with pytest.raises(ValueError, match=r"^~/\.kube/config is not there, and .* cannot be used: .*; set KUBECONFIG"):
        await auth.load()


async def test_missing_file(tmp_path: Path) -> None:
    """A file that was named must be there; nothing else is used in its place."""
    with pytest.raises(ValueError, match="nowhere: no such file"):
        await auth.load(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "[", "{}", "clusters: []\n"])
async def test_broken_file(tmp_path: Path, text: str) -> None:
    """A file that is no kubeconfig is named in the error."""
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(ValueError, match=f"kubeconfig {path} cannot be used"):
        await auth.load(path)


async def test_user_without_token(tmp_path: Path) -> None:
    """A client certificate or nothing needs no header."""
    credentials = await auth.load(_write(tmp_path / "k"))

    assert await credentials.headers() == {}


async def test_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy comes from the kubeconfig, then the environment; loopback has none, as in kubectl."""
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    far = await auth.load(_write(tmp_path / "far", server="http://api.example"))
    own = await auth.load(_write(tmp_path / "own", server="http://api.example", cluster={"proxy-url": "http://own:2"}))
    near = await auth.load(_write(tmp_path / "near"))

    assert [each.proxy for each in (far, own, near)] == ["http://proxy:1", "http://own:2", None]


async def test_server_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    """TLS verifies name and issuer; insecure-skip-tls-verify turns that off, as in kubectl."""
    strict = await auth.load(_write(tmp_path / "a", server="https://api.example"))
    loose = await auth.load(
        _write(tmp_path / "b", server="https://api.example", cluster={"insecure-skip-tls-verify": True})
    )

    assert strict.ssl_context().verify_mode == ssl.CERT_REQUIRED
    assert strict.ssl_context().check_hostname
    assert loose.ssl_context().verify_mode == ssl.CERT_NONE
