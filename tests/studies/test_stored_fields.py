"""The fields of a stored config: other names and types are refused in a line."""

import pytest

from cnnlab.files import write_json
from cnnlab.run_directory import ResumeError
from cnnlab.studies.resume import stored_config
from cnnlab.studies.settings import Training, from_json, to_json
from cnnlab.studies.trained import run_config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "8"}, "epochs must be int, got '8'"),
        ({"epochs": None}, "epochs must be int, got None"),
        ({"epochs": True}, "epochs must be int, got True"),
        ({"epochs": 8.0}, "epochs must be int"),
        ({"learning_rate": "high"}, "learning_rate must be float"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'. Did you mean 'cosine'"),
        ({"model_options": "width=4"}, "model_options must be tuple"),
        ({"model_options": [4]}, "model_options must be tuple"),
        ({"data_dir": 4}, "data_dir must be"),
        ({"flip": 1}, "flip must be bool"),
    ],
)
def test_a_value_of_another_type_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        from_json(Training, to_json(Training()) | changes)


def test_a_name_that_was_flipped_is_named_and_not_left_to_its_default(tmp_path):
    fields = to_json(Training(learning_rate=0.008, run_dir=None))
    fields["mearning_rate"] = fields.pop("learning_rate")
    with pytest.raises(ValueError, match="'mearning_rate'. Did you mean 'learning_rate'"):
        from_json(Training, fields)
    write_json(tmp_path / "config.json", fields)  # of a version without a checksum
    for read in (run_config, lambda directory: stored_config(Training, directory)):
        with pytest.raises(ResumeError, match=r"config\.json .*mearning_rate") as error:
            read(tmp_path)
        assert "\n" not in str(error.value)


def test_a_setting_that_this_version_does_not_have_is_refused_on_a_resume_only(tmp_path):
    fields = {**to_json(Training()), "temperature": 4.0, "experiment": "settings"}
    write_json(tmp_path / "config.json", fields)
    with pytest.raises(ResumeError, match="this version has no setting 'temperature'"):
        stored_config(Training, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert run_config(tmp_path).epochs == Training().epochs


def test_a_setting_that_an_earlier_version_did_not_have_gets_its_default():
    fields = to_json(Training(epochs=3))
    del fields["checkpoint_steps"]
    assert from_json(Training, fields).epochs == 3
