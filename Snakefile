"""One rule for each step of the report. `make report` calls it; notebooks run one after another, each uses all cores."""

import shlex

NOTEBOOKS = {  # notebook: (its parameter file, what must have run before so that its runs are reused)
    "00_loss_derivation": (None, []),
    "01_train": ("fast", []),
    "02_probe": ("fast", ["01_train"]),
    "03_ablate_kappa": ("kappa", []),
    "04_ablate_beta": ("beta", ["03_ablate_kappa"]),
    "05_ablate_projector": ("projector", ["03_ablate_kappa"]),
    "06_saliency": ("sweep", ["08_compare_methods"]),
    "07_centroids": ("sweep", ["08_compare_methods"]),
    "08_compare_methods": ("sweep", []),
    "09_coarse_vs_fine": ("sweep", ["08_compare_methods"]),
    "10_estimator": (None, []),
}
PACKAGE = glob_wildcards("infomax_nb/{module,[a-z_/]+}.py").module


rule report:
    input:
        expand("reports/notebooks/{name}.html", name=NOTEBOOKS),
        "reports/index.html",
    default_target: True


rule execute:
    input:
        notebook="notebooks/{name}.ipynb",
        package=expand("infomax_nb/{module}.py", module=PACKAGE),
        params=lambda w: [f"params/{p}.yaml" for p in [NOTEBOOKS[w.name][0]] if p],
        before=lambda w: [f"reports/notebooks/{n}.ipynb" for n in NOTEBOOKS[w.name][1]],
    output:
        "reports/notebooks/{name}.ipynb",
    params:
        file=lambda w, input: f"-f {input.params}" if input.params else "",
    threads: max(1, workflow.cores // 2)  # two at a time: much of a notebook's work uses one core, whatever there is
    shell:
        "OMP_NUM_THREADS={threads} papermill --log-level WARNING --cwd notebooks {input.notebook} {output} {params.file}"


rule html:
    input:
        "reports/notebooks/{name}.ipynb",
    output:
        "reports/notebooks/{name}.html",
    shell:
        "jupyter nbconvert --log-level ERROR --to html --output-dir reports/notebooks {input}"


rule index:
    input:
        expand("reports/notebooks/{name}.ipynb", name=NOTEBOOKS),
        "workflow/index.py",
        "workflow/index.html.j2",
        glob_wildcards("reports/{result,\\w+}/caption.txt") and expand(
            "reports/{result}/caption.txt", result=glob_wildcards("reports/{result,\\w+}/caption.txt").result
        ),
    output:
        "reports/index.html",
    shell:
        "python workflow/index.py"


# Rows of the paper's Table 1, one job each; `--config epochs=1 n_train=512` for a trial, `data_root=DIR` for the data.
CHANGES = {k: config[k] for k in ("epochs", "n_train", "batch_size") if k in config}
PLACES = {k: config[k] for k in ("data_root", "device", "runs_dir") if k in config}
FLAGS = " ".join(f"-p {k} {shlex.quote(str(v))}" for k, v in {**CHANGES, **PLACES}.items())
TRIAL = "".join(f"-{k}{v}" for k, v in CHANGES.items())


rule row:
    input:
        "params/paper/{file}.yaml",
    output:
        touch("runs/rows/{file}" + TRIAL),
    params:
        changes=FLAGS,
    threads: workflow.cores
    shell:
        "python -m infomax_nb.train {input} {params.changes}"


rule table1_cifar10:
    input:
        expand("runs/rows/{file}" + TRIAL, file=glob_wildcards("params/paper/{file,cifar10_.+}.yaml").file),
    output:
        f"reports/table1_cifar10{TRIAL}.csv",
    params:
        changes=FLAGS,
    shell:
        "python workflow/table1.py CIFAR-10 {output} {params.changes}"
