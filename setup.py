from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="minicnn",
    version="0.1.0",
    description="Convolutional networks written from scratch, on NumPy and Numba",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["minicnn", "minicnn.*"]),
    package_data={"minicnn": ["py.typed"], "minicnn.cuda": ["*.cu", "*.cuh"]},
    install_requires=["numpy>=2", "numba>=0.62", "pandas>=2.2", "tqdm>=4.60", "safetensors>=0.4.5"],
    extras_require={
        "gpu": ["cupy-cuda13x[ctk]>=14"],
        "cuda-check": ["nvidia-cuda-nvrtc"],
        "test": ["pytest>=8", "hypothesis>=6.100", "pytest-xdist>=3.5", "h5py", "pillow", "matplotlib", "tensorboardX"],
        "parity": ["keras>=3.10", "jax", "h5py", "scipy", "pillow"],
        "h5": ["h5py"],
        "images": ["pillow"],
        "plot": ["matplotlib"],
        "tensorboard": ["tensorboardX"],
        "dev": ["ruff", "mypy", "pandas-stubs"],
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
