"""How much a run trains: its number of steps in words, and what to change where they are few."""

from infomax_nb.config import TrainConfig

# Glyphs: 108 steps (the sweep profile) leave every self-supervised network where it began, 296 (the
# fast one) don't.
ENOUGH = 200
BATCHES = (512, 256, 128, 64, 32, 16)  # below 16 images too little is left to compare


def steps(config: TrainConfig, images: int) -> int:
    """Steps of a run on so many training images: whole batches of each epoch."""
    return config.epochs * (images // config.batch_size)


def in_words(config: TrainConfig, images: int) -> str:
    """One sentence: how many steps a run on so many training images takes; below some 200 also what
    to change."""
    taken = steps(config, images)
    said = f"Steps of a run: {taken:,} (images: {images:,}, batch_size: {config.batch_size}, epochs: {config.epochs})"
    if taken >= ENOUGH:
        return f"{said}."
    more = longer(config, images)
    values = f"-p batch_size {more.batch_size} -p epochs {more.epochs}"
    few = f"which is too few to learn much; some {ENOUGH} are a beginning"
    return f"{said}, {few}: {values} makes it {steps(more, images)}."


def longer(config: TrainConfig, images: int) -> TrainConfig:
    """The configuration with as many epochs as some 200 steps take, and batches so small that an
    epoch has eight."""
    smaller = [size for size in BATCHES if size < config.batch_size]
    fitting = (size for size in (config.batch_size, *smaller) if images // size >= 8)
    size = next(fitting, min([config.batch_size, *smaller]))
    return config.replace(
        batch_size=size, epochs=max(config.epochs, -(-ENOUGH // (images // size)))
    )
