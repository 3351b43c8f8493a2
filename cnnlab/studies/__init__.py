"""The parts that experiments are made of.

    from cnnlab.studies import build, study, trained
    from cnnlab.studies.settings import Training

    config = Training(dataset="mnist", data_dir="DIR", model="lenet5")
    splits = build.load_data(config)
    recipe = build.make_recipe(config, splits.train)
    networks = trained.load_run("runs/digits-resnet8-1")

``settings`` holds the options that every training has, ``build`` makes data, network and recipe of
them; ``study`` is one run directory with its trainings, ``trained`` reads finished ones;
``methods`` scores ways to predict at equal budgets, ``claims`` gives verdicts.
"""
