"""Published results of small nets: accuracy and size as they were published, and the size as it is counted here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a published table.

    Attributes:
        method: Who published it.
        model: The net, by the name that ``model=`` has for it.
        data: The samples, by the name that ``data=`` has for them.
        accuracy: Share of test samples that are classified right, as published.
        claimed: Parameters, as published.
        source: Where the row stands.
        ranks: Rank of each layer; None for a dense layer. Empty where they were not found.
        counted: Parameters of a model with these ranks: both factors of each layer, and all biases. Without ranks None.
        note: What else a reader must know.
    """

    method: str
    model: str
    data: str
    accuracy: float
    claimed: int
    source: str
    ranks: tuple[int | None, ...] = ()
    counted: int | None = None
    note: str = ""

    @property
    def parameters(self) -> int:
        """Parameters to compare with: as counted, else as claimed."""
        return self.claimed if self.counted is None else self.counted


REPOSITORY = "github.com/COMPiLELab/DLRT-Net, Lenet_experiment/cross_val_tab_paper.csv at aea3af5"
PAPER = "Schotthöfer et al., NeurIPS 2022, by a citation"
IDELBAYEV = "Idelbayev & Carreira-Perpiñán, CVPR 2020, by a citation"
RESPLIT = "mean of 5 random splits of all 70,000 digits; ranks and size of the best of the 5"


def _repository(accuracy: float, claimed: int, ranks: tuple[int, int, int], counted: int) -> Published:
    return Published(
        "DLRT (repository)", "lenet5", "mnist", accuracy, claimed, REPOSITORY, (*ranks, None), counted, RESPLIT
    )


PUBLISHED = (
    _repository(0.98161, 37_445, (10, 23, 62), 99_280),
    _repository(0.98212, 30_278, (10, 20, 48), 79_430),
    _repository(0.97872, 24_542, (9, 16, 37), 62_885),
    _repository(0.98139, 20_033, (9, 16, 28), 51_185),
    _repository(0.98115, 13_091, (8, 8, 15), 29_840),
    _repository(0.97451, 9_398, (4, 6, 8), 19_460),
    _repository(0.95967, 7_250, (2, 4, 4), 13_070),
    _repository(0.94068, 6_647, (2, 2, 3), 10_670),
    Published("DLRT (paper)", "lenet5", "mnist", 0.980, 47_975, PAPER, (15, 46, 13, 10), 48_555),
    Published("DLRT (paper)", "lenet5", "mnist", 0.972, 25_650, PAPER),
    Published("DLRT (paper)", "lenet5", "mnist", 0.953, 15_520, PAPER),
    Published("LC rank selection", "lenet5", "mnist", 0.9867, 18_075, IDELBAYEV),
    Published("DLRT (paper)", "mlp 500", "mnist", 0.9834, 199_940, PAPER),
    Published("DLRT (paper)", "mlp 500", "mnist", 0.9690, 86_692, PAPER),
    Published("DLRT (paper)", "mlp 784", "mnist", 0.9812, 280_672, PAPER),
    Published("DLRT (paper)", "mlp 784", "mnist", 0.9740, 141_120, PAPER),
)
