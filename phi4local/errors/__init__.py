"""Every deliberate error, in one tree.

    Phi4LocalError                      exit code 1; everything below is a known failure with a hint
    ├── InvalidSettingError             a setting outside its range, or a setting that does not exist
    ├── MissingExtraError               a library that is installed only with an extra
    ├── GuardCheckError                 a check of the guard that could not be made
    ├── UnknownModelError               a name that is no manifest, file or folder
    ├── ModelNotInstalledError          a known model of which nothing is on this machine
    ├── AmbiguousNameError              a name that stands for several models
    ├── ModelfileError                  a Modelfile with a line that means nothing
    ├── UnknownTemplateError            a name that no prompt template has
    ├── NothingToExtractError           an answer without the part that was asked for
    ├── UnknownResultError              words that stand for no kept result of a benchmark
    ├── UnknownQuantizationError        a quantization that the converter does not make
    ├── FileFormatError                 a file that is not what it claims to be
    │   ├── GuardPolicyError            a guard's policy with something that means nothing
    │   ├── EvaluationDataError         questions of a benchmark that cannot be read
    │   ├── DatasetError                conversations to learn from that cannot be read
    │   ├── DocumentError               a document that is missing, binary, encrypted, damaged or too large
    │   ├── GGUFError                   a GGUF header or its values
    │   ├── ModelFileChangedError       a file that was replaced or removed while its model ran
    │   ├── CheckpointError             a safetensors folder: config, index, shards, tokenizer
    │   ├── AdapterError                a LoRA adapter that is damaged, or made for another model
    │   ├── InputFileError              a file that cannot be part of a prompt: an image, a PDF, no text
    │   ├── TemplateError               a prompt template with something in it that means nothing
    │   ├── SavedStateError             a conversation that cannot be saved or put back
    │   ├── SessionError                a kept conversation that cannot be read or gone on with
    │   └── StoreError                  a kept model that is damaged, or no longer what it was
    ├── UnknownSessionError             a name that no kept conversation has
    ├── SessionBusyError                a kept conversation that is open in another process
    ├── EvaluationBusyError             an evaluation that another process is in the middle of
    ├── TextTooLongError                a text that is too long to be kept
    ├── ConversionError                 a checkpoint that cannot become a GGUF
    │   ├── UnsupportedCheckpointError  an architecture or tokenizer that is not Phi-4's
    │   ├── UnknownTensorError          a tensor that this architecture does not have
    │   ├── NonFiniteWeightError        NaN or infinity in the weights
    │   ├── UnstorableWeightError       weights beyond the range of the type that should store them
    │   └── MissingImatrixError         a quantization that is garbage without an importance matrix
    ├── FileWriteError                  the operating system refused a write
    │   ├── OutputExistsError           the output is there and may not be replaced
    │   └── NotEnoughDiskError          less free space than the output needs
    ├── InvalidReferenceError           words that name no model, or one that could be at several places
    ├── DownloadError                   network, access, or bytes that are not what was announced
    │   ├── RemoteNotFoundError         no such repository, revision or file at a server
    │   │   └── UnknownTagError         a tag that fits no file, or several
    │   ├── AccessDeniedError           a model that is not for everybody, or a wrong token
    │   ├── FileChangedError            a file that is not the one on the server that was looked up
    │   ├── DamagedFileError            bytes that arrived and are not the announced ones
    │   ├── OfflineError                a connection is needed and none may be made
    │   └── UnsafeNameError             a name, path or digest that could lead out of the store
    ├── RemoteError                     a server that is not there, refuses, or answers nonsense
    ├── ChatTemplateError               a chat template that is missing, refused or too large
    ├── ContextTooLongError             a prompt that does not fit into the context
    ├── GuardRefusedError               a question that the guard does not let through
    ├── ContextFullError                a conversation whose turns no longer fit
    ├── NoTurnError                     a conversation that is not as long as a wish to go back
    ├── TrainingError                   a fine-tuning run that cannot begin, or broke off
    ├── NotEnoughMemoryError            a model that won't fit, found before anything was loaded
    ├── GpuMissingError                 a GPU that was required and is not there, or has no room
    ├── ServerError                     a server that cannot start, or a request that it cannot take
    │   ├── AddressInUseError           an address that another program listens on
    │   ├── NoServerError               a running server, or a loaded model, that is not there
    │   ├── RequestTimeoutError         a request that took longer than allowed
    │   └── UnsupportedFieldError       a field of a request that means nothing here
    └── EngineError                     llama.cpp could not do what was asked
        ├── LibraryMissingError         llama-cpp-python is not installed or does not load
        ├── ModelLoadError              llama.cpp refused the file
        ├── EngineCrashedError          the worker process ended in the middle of the work
        ├── EngineHungError             the worker process made no progress
        ├── EngineRestartError          the worker process died too often to start it again at once
        ├── NonFiniteLogitsError        the model computed NaN or infinity
        └── EngineBusyError             too many requests wait already

`hint` says what the person can do; numbers are attributes, so nobody has to parse a message.
"""

from phi4local.errors.base import (
    DocumentError,
    EvaluationBusyError,
    EvaluationDataError,
    FileFormatError,
    FileWriteError,
    GuardCheckError,
    GuardPolicyError,
    InvalidSettingError,
    MissingExtraError,
    NotEnoughDiskError,
    OutputExistsError,
    Phi4LocalError,
)
from phi4local.errors.engine import (
    ChatTemplateError,
    ContextFullError,
    ContextTooLongError,
    EngineBusyError,
    EngineCrashedError,
    EngineError,
    EngineHungError,
    EngineRestartError,
    GpuMissingError,
    GuardRefusedError,
    LibraryMissingError,
    ModelFileChangedError,
    ModelLoadError,
    NonFiniteLogitsError,
    NotEnoughMemoryError,
    NoTurnError,
    RemoteError,
    TrainingError,
)
from phi4local.errors.models import (
    AccessDeniedError,
    AdapterError,
    AmbiguousNameError,
    CheckpointError,
    ConversionError,
    DamagedFileError,
    DatasetError,
    DownloadError,
    FileChangedError,
    GGUFError,
    InvalidReferenceError,
    MissingImatrixError,
    ModelfileError,
    ModelNotInstalledError,
    NonFiniteWeightError,
    OfflineError,
    RemoteNotFoundError,
    SavedStateError,
    StoreError,
    UnknownModelError,
    UnknownQuantizationError,
    UnknownResultError,
    UnknownTagError,
    UnknownTensorError,
    UnsafeNameError,
    UnstorableWeightError,
    UnsupportedCheckpointError,
)
from phi4local.errors.prompts import (
    InputFileError,
    NothingToExtractError,
    TemplateError,
    UnknownTemplateError,
)
from phi4local.errors.server import (
    AddressInUseError,
    NoServerError,
    RequestTimeoutError,
    ServerError,
    UnsupportedFieldError,
)
from phi4local.errors.sessions import SessionBusyError, SessionError, TextTooLongError, UnknownSessionError

__all__ = [
    "AccessDeniedError",
    "AdapterError",
    "AddressInUseError",
    "AmbiguousNameError",
    "ChatTemplateError",
    "CheckpointError",
    "ContextFullError",
    "ContextTooLongError",
    "ConversionError",
    "DamagedFileError",
    "DatasetError",
    "DocumentError",
    "DownloadError",
    "EngineBusyError",
    "EngineCrashedError",
    "EngineError",
    "EngineHungError",
    "EngineRestartError",
    "EvaluationBusyError",
    "EvaluationDataError",
    "FileChangedError",
    "FileFormatError",
    "FileWriteError",
    "GGUFError",
    "GpuMissingError",
    "GuardCheckError",
    "GuardPolicyError",
    "GuardRefusedError",
    "InputFileError",
    "InvalidReferenceError",
    "InvalidSettingError",
    "LibraryMissingError",
    "MissingExtraError",
    "MissingImatrixError",
    "ModelFileChangedError",
    "ModelLoadError",
    "ModelNotInstalledError",
    "ModelfileError",
    "NoServerError",
    "NoTurnError",
    "NonFiniteLogitsError",
    "NonFiniteWeightError",
    "NotEnoughDiskError",
    "NotEnoughMemoryError",
    "NothingToExtractError",
    "OfflineError",
    "OutputExistsError",
    "Phi4LocalError",
    "RemoteError",
    "RemoteNotFoundError",
    "RequestTimeoutError",
    "SavedStateError",
    "ServerError",
    "SessionBusyError",
    "SessionError",
    "StoreError",
    "TemplateError",
    "TextTooLongError",
    "TrainingError",
    "UnknownModelError",
    "UnknownQuantizationError",
    "UnknownResultError",
    "UnknownSessionError",
    "UnknownTagError",
    "UnknownTemplateError",
    "UnknownTensorError",
    "UnsafeNameError",
    "UnstorableWeightError",
    "UnsupportedCheckpointError",
    "UnsupportedFieldError",
]
