"""``python -m p2be_exp.export run=RUN format=torch_export|onnx|hub``."""

from p2be_exp.commands.export import main

if __name__ == "__main__":
    raise SystemExit(main())
