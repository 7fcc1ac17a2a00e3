"""The number of steps that a run trains, in words, and what to change if they are few."""

from infomax_nb.config import TrainConfig

# On glyphs, 108 steps (the sweep profile) leave every self-supervised network where it began; 296
# (the fast profile) don't.
ENOUGH = 200
BATCHES = (512, 256, 128, 64, 32, 16)  # below 16 images too little is left to compare


def steps(config: TrainConfig, images: int) -> int:
    """Steps of a run on this many training images: the whole batches of each epoch."""
    return config.epochs * (images // config.batch_size)


def in_words(config: TrainConfig, images: int) -> str:
    """One sentence: how many steps a run on this many training images takes.

    If there are fewer than 200, it also says what to change.
    """
    count = steps(config, images)
    reason = f"images: {images:,}, batch_size: {config.batch_size}, epochs: {config.epochs}"
    sentence = f"Steps of a run: {count:,} ({reason})"
    if count >= ENOUGH:
        return f"{sentence}."
    more = longer(config, images)
    few = f"which is too few to learn much; some {ENOUGH} are a beginning"
    values = f"-p batch_size {more.batch_size} -p epochs {more.epochs}"
    return f"{sentence}, {few}: {values} makes it {steps(more, images)}."


def longer(config: TrainConfig, images: int) -> TrainConfig:
    """The configuration with enough epochs for some 200 steps.

    Its batches are small enough for eight in an epoch, if possible.
    """
    sizes = [config.batch_size, *(size for size in BATCHES if size < config.batch_size)]
    size = next((size for size in sizes if images // size >= 8), min(sizes))
    epochs = -(-ENOUGH // (images // size))  # rounded up
    return config.replace(batch_size=size, epochs=max(config.epochs, epochs))
