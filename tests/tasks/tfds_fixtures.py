"""Prepared TensorFlow data sets of a few records, for tests: what `tfds build` leaves, in the real layout."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds


def prepare(directory: Path, name: str, features: Iterable[str], splits: Mapping[str, list[dict[str, str]]]) -> Path:
    """Writes the metadata and one TFRecord file a split of `name`, as "c4/en:3.1.0"; returns their folder."""
    builder, _, version = name.partition(":")
    folder = directory / builder / version
    folder.mkdir(parents=True)
    dataset, _, configuration = builder.partition("/")
    schema = tfds.features.FeaturesDict({feature: tfds.features.Text() for feature in features})
    infos = []
    for split, records in splits.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=dataset, split=split, filetype_suffix="tfrecord"
        )
        infos.append(
            tfds.core.SplitInfo(name=split, shard_lengths=[len(records)], num_bytes=1, filename_template=template)
        )
        path = str(template.sharded_filepath(shard_index=0, num_shards=1))
        with tf.io.TFRecordWriter(path) as writer:
            for record in records:
                writer.write(schema.serialize_example(schema.encode_example(record)))
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=dataset,
        config_name=configuration,
        version=tfds.core.Version(version),
        data_dir=str(folder),
        module_name="",
    )
    info = tfds.core.DatasetInfo(builder=identity, features=schema)
    info.set_file_format("tfrecord")
    info.set_splits(tfds.core.splits.SplitDict(infos))
    info.write_to_directory(folder)
    schema.save_config(folder)
    return folder
