"""The bundle: a directory or one ``.mmg`` zip that holds a model and all that is promised about it."""

from mmg.bundle.manifest import Manifest, Modality, ModelFile
from mmg.bundle.reader import Bundle
from mmg.bundle.writer import describe_file, write_bundle

__all__ = ["Bundle", "Manifest", "Modality", "ModelFile", "describe_file", "write_bundle"]
