r"""The weights that come with the package: AsymTrack-T from nothing, on a little data, on a CPU.

Three runs, each from where the last one ended; P holds the packs (`asymtrack_jax/weights/README.md`
says of what, and what the runs cost and brought):

python -m asymtrack_jax.training.distill --config configs/demo.py --workdir runs/demo1 \
    --config.data.roots.pack=P --config.run.teacher=nanotrack_backbone.onnx \
    --config.train.batch-size=8 --config.train.pairs-per-epoch=16000 --config.train.epochs=1 \
    --config.train.learning-rate=2e-3 --config.train.backbone-multiplier=1 \
    --config.train.ema-decay=0.99 --config.train.layer-scale=0.3
python train.py --config configs/demo.py --workdir runs/demo2 \
    --config.data.roots.pack=P --config.run.init-from=runs/demo1/last \
    --config.model.search-size=192 --config.model.search-factor=3 \
    --config.data.augmentation.centre-jitter=1.8 --config.train.schedule=step
python train.py --config configs/demo.py --workdir runs/demo3 \
    --config.data.roots.pack=P --config.run.init-from=runs/demo2/last
"""

from asymtrack_jax.config import Augmentation, Config, DataConfig, RunConfig, TrainConfig


def get_config() -> Config:
    """The last run."""
    return Config(
        train=TrainConfig(
            batch_size=16,
            epochs=12,
            pairs_per_epoch=3_200,
            corner_weight=0.5,
            learning_rate=1e-3,
            backbone_multiplier=0.5,
            weight_decay=1e-3,
            clip_norm=1.0,
            warmup_steps=100,
            schedule="cosine",
            ema_decay=0.997,
        ),
        data=DataConfig(
            sources=("pack/tracks", "pack/debris", "pack/stills", "pack/rendered"),
            shares=(0.3, 0.05, 0.35, 0.3),
            validation=("pack/heldout",),
            tracking="pack/heldout",
            max_gap=48,
            augmentation=Augmentation(centre_jitter=2.5, scale_jitter=0.35, crop_flip=0.1),
            loader="threads",
            num_threads=2,
        ),
        run=RunConfig(
            checkpoint_steps=200,
            log_steps=20,
            picture_steps=200,
            validation_epochs=1,
            validation_pairs=256,
            tracking_sequences=6,
            tracking_frames=48,
        ),
    )
