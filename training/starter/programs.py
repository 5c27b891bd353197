"""What differs between the starter packs: data, labels, picture size, changes that must not matter."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Program:
    """One pack and how it is trained."""

    name: str
    data: str                       # folder of the data set
    labels: dict                    # finding → column of labels.csv, or column:value
    size: tuple                     # width and height of the network's input
    small: tuple                    # the same for the first half of the training
    channels: int                   # 1: grey (ITU-R 601 luma); 3: red, green, blue
    images: int                     # drawn in the training
    group: str = ""                 # column that says whose image it is; "": clusters of near-identical images
    case: str = "file"              # column that says which images are answered together
    folds: int = 0                  # cross-validation by group; 0: one split into train, calibration and test
    over: str = "max-probability"   # how the images of a case become one answer
    top: int = 0
    fit: str = "stretch"
    turn: float = 15                # degrees
    zoom: tuple = (0.85, 1.2)
    mirror: tuple = (True, False)   # left-right, up-down
    exposure: float = 1.0           # strength of changes of gamma, contrast and brightness; little where grey values are physical
    colour: float = 0.0             # strength of changes of hue, saturation and channel gain
    stain: float = 0.0              # strength of changes of mean and spread in CIE L*a*b* (Reinhard 2001)
    synthetic: float = 0.0          # share of slices without haemorrhage that get one drawn in
    back: float = 0.0               # share of the final weights that is ImageNet's; the head is then fitted anew
    marks: bool = True              # borders, corners and letters carry nothing
    research: bool = False


PROGRAMS = {p.name: p for p in (
    Program("lung-histology", "lung_histology",
            {"adenocarcinoma": "label:lung_aca", "squamous": "label:lung_scc", "benign": "label:lung_n"},
            (160, 160), (112, 112), 3, 100_000, group="group", case="group", over="mean-logit", turn=180, mirror=(True, True), colour=0.6, stain=1.0, marks=False),
    Program("skin-lesion", "skin",
            {"melanoma": "label:melanoma", "seborrheic-keratosis": "label:seborrheic_keratosis", "nevus": "label:nevus"},
            (224, 224), (160, 160), 3, 200_000, group="file", turn=180, zoom=(0.75, 1.35), mirror=(True, True), colour=0.5),
    Program("head-ct-haemorrhage", "head_ct_bleed",
            {"haemorrhage": "hemorrhage", "intraventricular": "intraventricular", "intraparenchymal": "intraparenchymal",
             "subarachnoid": "subarachnoid", "epidural": "epidural", "subdural": "subdural", "fracture": "fracture"},
            (256, 256), (192, 192), 1, 12_000, group="patient", case="patient", folds=3, over="top-mean-logit", top=3, turn=25, zoom=(0.8, 1.5), exposure=0.35, synthetic=0.35,
            back=0.5),
    Program("echo-regurgitation", "echo_regurgitation", {"AR": "label:AR", "MR": "label:MR", "PR": "label:PR", "TR": "label:TR"},
            (256, 192), (192, 144), 3, 9_000, group="patient", case="clip", folds=3, over="mean-logit", turn=12, mirror=(False, False), colour=0.15, back=0.5,
            research=True),
    Program("brain-mri-tumour", "brain_mri",
            {"glioma": "label:glioma", "meningioma": "label:meningioma", "pituitary": "label:pituitary", "no-tumour": "label:notumor"},
            (224, 224), (160, 160), 1, 20_000, turn=20),
    Program("fundus", "fundus",
            {"diabetic-retinopathy": "diabetic_retinopathy", "amd": "amd", "glaucoma": "glaucoma", "cataract": "cataract", "myopia": "myopia"},
            (288, 288), (224, 224), 3, 150_000, group="patient", turn=25, zoom=(0.88, 1.25), mirror=(True, True), colour=0.3, research=True),
)}
