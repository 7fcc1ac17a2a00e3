"""One rule for each step of the report. `make report` calls it; notebooks run one after another, each uses all cores."""

NOTEBOOKS = {  # notebook: (its parameter file, what must have run before so that its runs are reused)
    "00_loss_derivation": (None, []),
    "01_train": ("fast", []),
    "02_probe": ("fast", ["01_train"]),
    "03_ablate_kappa": ("kappa", []),
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
    threads: workflow.cores
    shell:
        "papermill --log-level WARNING --cwd notebooks {input.notebook} {output} {params.file}"


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
