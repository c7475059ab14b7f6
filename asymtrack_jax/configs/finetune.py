"""Fine-tuning on videos of one's own: a folder D with `<sequence>/img/*.jpg` and `groundtruth.txt`.

Starts from the packaged weights, or those of `--config.run.init_from`. Every fifth sequence is for
validation. Trains on 3,200 pairs, in some four minutes of processor time.

asymtrack train --config finetune --config.data.roots.folder=D
"""

from asymtrack_jax.config import Augmentation, Config, DataConfig, RunConfig, TrainConfig


def get_config() -> Config:
    """Returns the configuration."""
    return Config(
        train=TrainConfig(
            batch_size=16,
            epochs=4,
            pairs_per_epoch=800,
            learning_rate=4e-4,
            frozen_stages=1,
            clip_norm=1.0,
            warmup_steps=20,
            schedule="cosine",
        ),
        data=DataConfig(
            sources=("folder_train",),
            shares=(1.0,),
            validation=("folder_val",),
            tracking="folder_val",
            max_gap=100,
            augmentation=Augmentation(centre_jitter=2.5, scale_jitter=0.35),
            num_workers=0,
        ),
        run=RunConfig(
            init_from="package",
            model_from_init=True,
            log_steps=10,
            checkpoint_steps=100,
            picture_steps=100,
            validation_epochs=1,
            validation_pairs=256,
        ),
    )
