"""The certificates of one life of the cluster, made with openssl.

There is one authority for the API server, its clients and the kubelet, and one for the front proxy
(aggregated APIs). They live as long as the node's state does.
"""

import base64
import json
from pathlib import Path

from . import commands, network, paths

NODE = "linnet"
SERVER = f"https://{network.NODE_ADDRESS}:6443"

_DOMAIN = ("kubernetes", "kubernetes.default", "kubernetes.default.svc",
           "kubernetes.default.svc.cluster.local", "localhost")  # fmt: skip
_API = [f"DNS:{name}" for name in _DOMAIN] + [
    f"IP:{address}" for address in ("127.0.0.1", network.NODE_ADDRESS, network.API_SERVICE_ADDRESS)
]
_CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
    "apiserver-kubelet": "/O=system:masters/CN=apiserver",
}


def ensure() -> None:
    """Make what is missing, and a kubeconfig for everyone who talks to the API server."""
    paths.PKI.mkdir(parents=True, exist_ok=True)
    paths.CONFIG.mkdir(parents=True, exist_ok=True)
    for authority in ("ca", "front-proxy-ca"):
        _authority(authority)
    _certificate("apiserver", "/CN=kube-apiserver", issuer="ca", names=_API)
    names = [f"DNS:{NODE}", f"IP:{network.NODE_ADDRESS}", "IP:127.0.0.1"]
    _certificate("kubelet-server", f"/CN={NODE}", issuer="ca", names=names)
    _certificate("front-proxy", "/CN=front-proxy", issuer="front-proxy-ca")
    for name, subject in _CLIENTS.items():
        _certificate(name, subject, issuer="ca")
        _kubeconfig(name, into=paths.CONFIG / f"{name}.kubeconfig")
    key = paths.PKI / "service-accounts.key"
    if not key.exists():
        _openssl("genrsa", "-out", str(key), "2048")
    public = paths.PKI / "service-accounts.pub"
    if not public.exists():
        _openssl("rsa", "-in", str(key), "-pubout", "-out", str(public))
    _kubeconfig("admin", into=paths.KUBECONFIG)


def _authority(name: str) -> None:
    certificate = paths.PKI / f"{name}.crt"
    if certificate.exists():
        return
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "3650",
             "-subj", f"/CN=linnet-{name}", "-keyout", str(paths.PKI / f"{name}.key"),
             "-out", str(certificate))  # fmt: skip


def _certificate(name: str, subject: str, *, issuer: str, names: list[str] | None = None) -> None:
    certificate, key = paths.PKI / f"{name}.crt", paths.PKI / f"{name}.key"
    if certificate.exists():
        return
    request = paths.PKI / f"{name}.csr"
    _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-sha256", "-subj", subject,
             "-keyout", str(key), "-out", str(request))  # fmt: skip
    extensions = paths.PKI / f"{name}.ext"
    lines = ["keyUsage=digitalSignature,keyEncipherment", "extendedKeyUsage=serverAuth,clientAuth"]
    if names:
        lines.append(f"subjectAltName={','.join(names)}")
    extensions.write_text("\n".join(lines))
    fresh = paths.PKI / f"{name}.crt.new"
    _openssl("x509", "-req", "-in", str(request), "-days", "3650", "-sha256",
             "-CA", str(paths.PKI / f"{issuer}.crt"), "-CAkey", str(paths.PKI / f"{issuer}.key"),
             "-CAcreateserial", "-extfile", str(extensions), "-out", str(fresh))  # fmt: skip
    fresh.rename(certificate)


def _kubeconfig(name: str, *, into: Path) -> None:
    """Write a kubeconfig that carries its certificates; JSON is YAML too."""
    user = {
        "client-certificate-data": _encoded(f"{name}.crt"),
        "client-key-data": _encoded(f"{name}.key"),
    }
    cluster = {"server": SERVER, "certificate-authority-data": _encoded("ca.crt")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "linnet",
        "clusters": [{"name": "linnet", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "linnet", "context": {"cluster": "linnet", "user": name}}],
    }
    text = json.dumps(content, indent=1)
    if not into.exists() or into.read_text() != text:
        into.touch(mode=0o600)
        into.write_text(text)


def _encoded(name: str) -> str:
    return base64.b64encode((paths.PKI / name).read_bytes()).decode()


def _openssl(*arguments: str) -> None:
    commands.run("openssl", *arguments)
