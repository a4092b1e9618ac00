# SPDX-License-Identifier: Apache-2.0
"""Container images for tests, good and bad: layers as tars, OCI layouts, docker-archives. Made with the standard library, so
that nothing of ours is on both sides."""
import gzip
import hashlib
import io
import json
import os
import tarfile

INDEX = 'application/vnd.oci.image.index.v1+json'
MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
CONFIG = 'application/vnd.oci.image.config.v1+json'
LAYER = 'application/vnd.oci.image.layer.v1.tar'
NAME = 'org.opencontainers.image.ref.name'
AMD64 = {'os': 'linux', 'architecture': 'amd64'}
EPOCH = 1600000000


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def entry(name, data=None, kind=tarfile.REGTYPE, link='', mode=0o644, uid=0, gid=0, pax=None, dev=(0, 0), mtime=EPOCH):
    """(TarInfo, bytes): what layer() takes."""
    t = tarfile.TarInfo(name)
    t.type, t.linkname, t.mode, t.uid, t.gid, t.mtime = kind, link, mode, uid, gid, mtime
    t.devmajor, t.devminor = dev
    t.pax_headers = pax or {}
    if isinstance(data, str):
        data = data.encode()
    if data is not None:
        t.size = len(data)
    return t, data


def folder(name, mode=0o755, **kw):
    return entry(name, kind=tarfile.DIRTYPE, mode=mode, **kw)


def symlink(name, target, **kw):
    return entry(name, kind=tarfile.SYMTYPE, link=target, mode=0o777, **kw)


def hardlink(name, target, **kw):
    return entry(name, kind=tarfile.LNKTYPE, link=target, **kw)


def layer(*entries, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=form, encoding='utf-8', errors='surrogateescape') as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


class Image:
    """Layers and a configuration; to be written in the forms that images come in."""

    def __init__(self, *layers, config=None, platform=None, pack=None, diff_ids=None):
        self.layers = layers
        self.packed = [(pack or (lambda d: d))(data) for data in layers]
        diff_ids = diff_ids or ['sha256:' + sha256(data) for data in layers]
        self.config = json.dumps({**(platform or AMD64), 'config': config or {}, 'rootfs': {'type': 'layers', 'diff_ids': diff_ids}}).encode()

    def blobs(self):
        return {sha256(b): b for b in [*self.packed, self.config, self.manifest()]}

    def manifest(self, **more):
        parts = [{'mediaType': LAYER, 'digest': 'sha256:' + sha256(p), 'size': len(p)} for p in self.packed]
        return json.dumps({'schemaVersion': 2, 'mediaType': MANIFEST, 'layers': parts,
                           'config': {'mediaType': CONFIG, 'digest': 'sha256:' + sha256(self.config), 'size': len(self.config)},
                           **more}).encode()

    def descriptor(self, name=None, platform=None):
        d = {'mediaType': MANIFEST, 'digest': 'sha256:' + sha256(self.manifest()), 'size': len(self.manifest())}
        if name:
            d['annotations'] = {NAME: name}
        if platform:
            d['platform'] = platform
        return d


def layout_files(blobs, manifests):
    files = {'oci-layout': b'{"imageLayoutVersion": "1.0.0"}',
             'index.json': json.dumps({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': manifests}).encode()}
    files.update({f'blobs/sha256/{h}': b for h, b in blobs.items()})
    return files


def image_files(*named):
    """named: (name or None, Image) pairs."""
    blobs = {}
    for _, image in named:
        blobs.update(image.blobs())
    return layout_files(blobs, [image.descriptor(name) for name, image in named])


def docker_files(*named):
    """As docker save wrote them before it wrote layouts."""
    files, manifest = {}, []
    for names, image in named:
        config = sha256(image.config) + '.json'
        files[config] = image.config
        layers = []
        for data in image.packed:
            path = sha256(data)[:12] + '/layer.tar'
            files[path] = data
            layers.append(path)
        manifest.append({'Config': config, 'RepoTags': names, 'Layers': layers})
    files['manifest.json'] = json.dumps(manifest).encode()
    return files


def write_dir(path, files):
    for name, data in files.items():
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        with open(os.path.join(path, name), 'wb') as f:
            f.write(data)
    return path


def write_tar(path, files, pack=lambda d: d):
    with open(path, 'wb') as f:
        f.write(pack(layer(*[entry(name, data) for name, data in files.items()])))
    return path


def gz(data):
    return gzip.compress(data, 1, mtime=0)
