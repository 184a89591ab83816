"""The adapters, one file each; `undrift.agents.adaptation.ADAPTERS` names them."""
