"""Copies a trained model in the store, each as if its content were another; runs beside MLflow.

python copies.py s3://mlflow/… s3://data/e2e/run/copies 8
"""

import hashlib
import json
import os
import secrets
import sys
from urllib.parse import urlsplit

import boto3

MANIFEST = "linnet/manifest.json"


def main(source: str, target: str, count: str) -> None:
    """Copy the files below `source`; print where the copies lie and what vouches for them."""
    store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    here, there = urlsplit(source), urlsplit(target)
    prefix = here.path.strip("/") + "/"
    found = store.list_objects_v2(Bucket=here.netloc, Prefix=prefix)["Contents"]
    names = [each["Key"].removeprefix(prefix) for each in found]
    read = store.get_object(Bucket=here.netloc, Key=prefix + MANIFEST)["Body"].read()
    copies = []
    for _ in range(int(count)):
        content = f"sha256:{secrets.token_hex(32)}"
        manifest = json.dumps(json.loads(read) | {"contentDigest": content}).encode()
        folder = f"{there.path.strip('/')}/{secrets.token_hex(8)}"
        for name in names:
            key = f"{folder}/{name}"
            if name == MANIFEST:
                store.put_object(Bucket=there.netloc, Key=key, Body=manifest)
            else:
                origin = {"Bucket": here.netloc, "Key": prefix + name}
                store.copy_object(Bucket=there.netloc, Key=key, CopySource=origin)
        copies.append(
            {
                "uri": f"s3://{there.netloc}/{folder}",
                "manifest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
                "content": content,
            }
        )
    print(json.dumps(copies))


if __name__ == "__main__":
    main(*sys.argv[1:])
