"""The data sets that can be fetched, as data: where each file comes from and what its bytes must be.

A file's path is the same in the data folder and in a mirror. Each is described as its public home serves it; a mirror may
hold it gzipped, with `.gz` added. Licences are stated as the sources state them.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """One file. `url` names a fixed commit, so that the bytes cannot change."""

    path: str
    bytes: int
    sha256: str
    url: str


@dataclasses.dataclass(frozen=True)
class Listed(Sequence):
    """The `File`s of a data set of many, read on first use from `listing`: lines of sha256, bytes and name.

    `urls` pairs each folder of the data set with the address that its files' names are appended to.
    """

    listing: str
    length: int
    bytes: int
    urls: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index):
        return _listed(self)[index]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set: its licence as its source states it, and its files."""

    name: str
    description: str
    licence: str
    source: str
    files: Sequence[File]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return self.files.bytes if isinstance(self.files, Listed) else sum(file.bytes for file in self.files)


@functools.cache
def _listed(files: Listed) -> tuple[File, ...]:
    place, urls = Path(__file__).with_name(files.listing), dict(files.urls)
    found = []
    for line in place.read_text(encoding="utf-8").splitlines():
        sha256, size, name = line.split(" ")
        folder, _, base = name.rpartition("/")
        found.append(File(f"{place.stem}/{name}", int(size), sha256, urls[folder] + base))
    return tuple(found)


_RAW = "https://raw.githubusercontent.com"
_CHAR_RNN = f"{_RAW}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
_FASHION = f"{_RAW}/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141"
_FSDD = f"{_RAW}/Jakobovski/free-spoken-digit-dataset/26eb9aaf76e81b692f806f9140c2d2777410d7a1"
_ENJA = f"{_RAW}/odashi/small_parallel_enja/312408a11c5fbcbc09443bebb18121f7efdcd61e"
_PEACE = f"{_RAW}/GITenberg/War-and-Peace_2600/fa22ab90f00f627e83d14acabe32d91602d2365d"
_MISERABLES = f"{_RAW}/GITenberg/Les-Mis-rables_135/913d26c4e33bc23cc91d79104ad0e939b4cd91ea"
_IMAGING = f"{_RAW}/udacity/nd320-c3-3d-imaging-starter/895fee683624aafe2033521f4d9b6d99accd66d5/data/TrainingSet"
_DEEPCHEM = f"{_RAW}/deepchem/deepchem/fbe3b911a94a6eb8c84c1a9e7ac67a472c49ea80/datasets"
_KANO = f"{_RAW}/HICAI-ZJU/KANO/766b478fde816ea014c713f380b73e87cd780da8/data"
_MOLECULENET = f"{_RAW}/GeorgeBatch/moleculenet/417251a08054c16d88bac8e9be895e66ee56742c/data"
_ADULT = f"{_RAW}/danxram/AdultDataset/d0d13c6354018b8a8f89357fa27a7b67c4d7abf9"
_ADULT_TEST = f"{_RAW}/gregoire-moreau/COMP551-Final-Project/719d24f644d301fb6616e2140b5025d04bec7e18"
_ADULT_NAMES = f"{_RAW}/yuzhen3301/decisiontree/5ae4f9935a84633a49aa4a46303db895e1584c40/preprocessing"

CATALOG = {
    d.name: d
    for d in (
        Dataset(
            name="tinyshakespeare",
            description="Plays of Shakespeare as one text of 1,115,394 ASCII characters, 65 of them distinct",
            licence="text in the public domain",
            source="https://github.com/karpathy/char-rnn",
            files=(
                File(
                    path="tinyshakespeare/input.txt",
                    bytes=1115394,
                    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    url=f"{_CHAR_RNN}/data/tinyshakespeare/input.txt",
                ),
            ),
        ),
        Dataset(
            name="gutenberg",
            description="War and Peace and Les Miserables in English, 6.6 million characters of UTF-8 text",
            licence=(
                "text in the public domain in the USA; the files carry the Project Gutenberg licence and "
                "trademark terms, which the text between their START and END lines is free of"
            ),
            source="https://github.com/GITenberg",
            files=(
                File(
                    path="gutenberg/2600-0.txt",
                    bytes=3359542,
                    sha256="6cbcc5ca5e590fb9ace161a5b93e4ecf280d7118104be0d63b686c004cfa70ae",
                    url=f"{_PEACE}/2600-0.txt",
                ),
                File(
                    path="gutenberg/135-0.txt",
                    bytes=3324334,
                    sha256="a878fd45f6d14808624d71154c1c1c75f64cb71ca5537f79bed1454255329004",
                    url=f"{_MISERABLES}/135-0.txt",
                ),
            ),
        ),
        Dataset(
            name="fashion_mnist",
            description="Fashion-MNIST: 60,000 training and 10,000 test images of clothing, 28x28 grey, 10 classes",
            licence="MIT, copyright 2017 Zalando SE; its text is among the files and stays with copies",
            source="https://github.com/zalandoresearch/fashion-mnist",
            files=(
                File(
                    path="fashion_mnist/train-images-idx3-ubyte.gz",
                    bytes=26421880,
                    sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    url=f"{_FASHION}/data/fashion/train-images-idx3-ubyte.gz",
                ),
                File(
                    path="fashion_mnist/train-labels-idx1-ubyte.gz",
                    bytes=29515,
                    sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    url=f"{_FASHION}/data/fashion/train-labels-idx1-ubyte.gz",
                ),
                File(
                    path="fashion_mnist/t10k-images-idx3-ubyte.gz",
                    bytes=4422102,
                    sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    url=f"{_FASHION}/data/fashion/t10k-images-idx3-ubyte.gz",
                ),
                File(
                    path="fashion_mnist/t10k-labels-idx1-ubyte.gz",
                    bytes=5148,
                    sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                    url=f"{_FASHION}/data/fashion/t10k-labels-idx1-ubyte.gz",
                ),
                File(
                    path="fashion_mnist/LICENSE",
                    bytes=1109,
                    sha256="13ef4788476d292858fa60eb9a5f74aeca5c65770bc885ccaa05823a17ef7be1",
                    url=f"{_FASHION}/LICENSE",
                ),
            ),
        ),
        Dataset(
            name="msd_hippocampus",
            description="Medical Segmentation Decathlon, Task04: 260 MR volumes of about 35x50x36 and their label maps",
            licence=(
                "CC BY-SA 4.0: attribution (Medical Segmentation Decathlon, medicaldecathlon.com, "
                "arXiv:1902.09063), share-alike"
            ),
            source="https://github.com/udacity/nd320-c3-3d-imaging-starter",
            files=Listed(
                listing="msd_hippocampus.sha256",
                length=520,
                bytes=18961461,
                urls=(
                    ("imagesTr", f"{_IMAGING}/images/"),
                    ("labelsTr", f"{_IMAGING}/labels/"),
                ),
            ),
        ),
        Dataset(
            name="fsdd",
            description="Free Spoken Digit Dataset: 3,000 recordings of 10 digits by 6 speakers, 8 kHz, 21.9 minutes",
            licence="CC BY-SA 4.0: attribution (Free Spoken Digit Dataset and its contributors), share-alike",
            source="https://github.com/Jakobovski/free-spoken-digit-dataset",
            files=Listed(
                listing="fsdd.sha256",
                length=3000,
                bytes=21128848,
                urls=(("recordings", f"{_FSDD}/recordings/"),),
            ),
        ),
        Dataset(
            name="small_parallel_enja",
            description="Tokenised English-Japanese sentence pairs of the Tanaka corpus: 50,000 / 500 / 500",
            licence=(
                "CC BY 2.0 FR: attribution (Tanaka corpus, now part of Tatoeba); the repository has no licence "
                "file of its own"
            ),
            source="https://github.com/odashi/small_parallel_enja",
            files=(
                File(
                    path="small_parallel_enja/train.en",
                    bytes=1701356,
                    sha256="148b05dcd28638fe20ee84f2b1127001c80982be352007dda241fb759adadc76",
                    url=f"{_ENJA}/train.en",
                ),
                File(
                    path="small_parallel_enja/train.ja",
                    bytes=2784447,
                    sha256="fc81a1434349ec98a449d7ae9cd2530057f689637684ecfed3501ea6a8a07ecc",
                    url=f"{_ENJA}/train.ja",
                ),
                File(
                    path="small_parallel_enja/dev.en",
                    bytes=17054,
                    sha256="04a2673449770657fd5e3b963cb856be3130923212b6db8ac7eaeef18f06c041",
                    url=f"{_ENJA}/dev.en",
                ),
                File(
                    path="small_parallel_enja/dev.ja",
                    bytes=27781,
                    sha256="cd534f56b8639dc130f86a365e5ec0aa70042000bdd740a622fbbf8b6be4acca",
                    url=f"{_ENJA}/dev.ja",
                ),
                File(
                    path="small_parallel_enja/test.en",
                    bytes=17301,
                    sha256="45edb380749ec2b49cca7618fc5a7595fc9f791180672ba466b90c873a4aa8bf",
                    url=f"{_ENJA}/test.en",
                ),
                File(
                    path="small_parallel_enja/test.ja",
                    bytes=27793,
                    sha256="d37dc460a81b064e4106c8913eb11fa300da05cf3f58a7a5bbfec7e20947ddef",
                    url=f"{_ENJA}/test.ja",
                ),
            ),
        ),
        Dataset(
            name="adult",
            description=(
                "Adult (Census Income): 32,561 and 16,281 rows of 8 categorical and 6 numeric columns, binary label"
            ),
            licence=(
                "CC BY 4.0: attribution (UCI Machine Learning Repository, doi 10.24432/C5XW20); see its page "
                "before passing copies on"
            ),
            source="https://archive.ics.uci.edu/dataset/2/adult",
            files=(
                File(
                    path="adult/adult.data",
                    bytes=3974305,
                    sha256="5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
                    url=f"{_ADULT}/adult.data",
                ),
                File(
                    path="adult/adult.test",
                    bytes=2003153,
                    sha256="a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
                    url=f"{_ADULT_TEST}/adult.test",
                ),
                File(
                    path="adult/adult.names",
                    bytes=5229,
                    sha256="c248284c0b5de30c9e1958d6cdd168a34a654758b620e68f46aefa83fc0a576a",
                    url=f"{_ADULT_NAMES}/adult.names",
                ),
            ),
        ),
        Dataset(
            name="molecules",
            description=(
                "MoleculeNet tables of SMILES and labels: hiv, tox21, muv, delaney (ESOL), Lipophilicity, bace, bbbp"
            ),
            licence=(
                "MIT as distributed by DeepChem and KANO; measurements: hiv, tox21, muv NIH and PubChem (US "
                "public), Lipophilicity ChEMBL (CC BY-SA 3.0: attribution, share-alike), delaney, bace, bbbp "
                "published papers"
            ),
            source=(
                "https://github.com/deepchem/deepchem, https://github.com/HICAI-ZJU/KANO, "
                "https://github.com/GeorgeBatch/moleculenet"
            ),
            files=(
                File(
                    path="molecules/hiv.csv",
                    bytes=1988198,
                    sha256="3a3c7a4ea9626211fe959ef988394670dd76d556ca3c6173b70c88256e4c3555",
                    url=f"{_KANO}/hiv.csv",
                ),
                File(
                    path="molecules/tox21.csv",
                    bytes=458635,
                    sha256="b58cc1f683e78e3c7a1bf7116e9aac0119804018d100f7b8cdb0857941c31aca",
                    url=f"{_KANO}/tox21.csv",
                ),
                File(
                    path="molecules/muv.csv.gz",
                    bytes=1749843,
                    sha256="93c8b4a37c5996c76e57d5f3f065fb8b7cf1c19067011eff2293fd2a94ce274a",
                    url=f"{_DEEPCHEM}/muv.csv.gz",
                ),
                File(
                    path="molecules/delaney-processed.csv",
                    bytes=96699,
                    sha256="8c06a76f0c6487d29ab0f903e6a7a7139f189ab3c1178f159c8be8964602f189",
                    url=f"{_DEEPCHEM}/delaney-processed.csv",
                ),
                File(
                    path="molecules/Lipophilicity.csv",
                    bytes=278405,
                    sha256="3d2a409dc8bdf620876bb7257faf4996df29a19dd0244d0b4a6a8064c306cded",
                    url=f"{_MOLECULENET}/lipophilicity_original.csv",
                ),
                File(
                    path="molecules/bace.csv",
                    bytes=103230,
                    sha256="5fb6e2a87a148ec7393c1d874d26ec40ee74eb6223ea7d2bfa16d153eb75eb55",
                    url=f"{_KANO}/bace.csv",
                ),
                File(
                    path="molecules/bbbp.csv",
                    bytes=111265,
                    sha256="a61e17872cbec0743a6147dc802a1f7550acfe8dc1053f881f4c42a3ce2dc597",
                    url=f"{_KANO}/bbbp.csv",
                ),
            ),
        ),
    )
}
