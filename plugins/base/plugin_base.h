#pragma once

#include <cuda_runtime_api.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "fields.h"
#include "logging.h"
#include "tensors.h"

namespace retinaface {

constexpr const char *kPluginNamespace = "";

/// Returns body()'s result; if it throws, logs the exception and returns `failure`. Every noexcept override that can
/// fail runs in here: an exception that leaves a noexcept function ends the process.
template <typename Result, typename Body>
Result guarded(const char *who, Result failure, const Body &body) noexcept {
    try {
        return body();
    } catch (const std::exception &error) {
        log_error(who, error.what());
    } catch (...) {
        log_error(who, "unknown exception");
    }
    return failure;
}

/// The device pointers of a launch, and its stream.
struct Buffers {
    const void *const *inputs;
    void *const *outputs;
    void *workspace;
    cudaStream_t stream;
};

/// What all plugins share: serialisation, cloning, the numbers of inputs and outputs, and one object for TensorRT's
/// three capabilities. A plugin writes the pure virtual functions below, which may throw; the overrides here catch.
///
/// `Plugin` derives from PluginBase<Plugin, Attributes, Params>, has a static kName, a static kVersion and a
/// constructor that takes Attributes and throws InvalidArgument for wrong ones. Attributes, a plugin's whole state, is
/// a struct with `template <typename Fields, typename Self> static void describe(Fields &, Self &)`; see FieldReader.
/// Params is what a launch needs: the attributes and the shapes.
template <typename Plugin, typename AttributesType, typename Params>
class PluginBase : public nvinfer1::IPluginV3,
                   public nvinfer1::IPluginV3OneCore,
                   public nvinfer1::IPluginV3OneBuild,
                   public nvinfer1::IPluginV3OneRuntime {
  public:
    using Attributes = AttributesType;

    explicit PluginBase(Attributes attributes) : attributes_(std::move(attributes)) {}

    nvinfer1::IPluginCapability *getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept final {
        switch (type) {
            case nvinfer1::PluginCapabilityType::kCORE:
                return static_cast<nvinfer1::IPluginV3OneCore *>(this);
            case nvinfer1::PluginCapabilityType::kBUILD:
                return static_cast<nvinfer1::IPluginV3OneBuild *>(this);
            case nvinfer1::PluginCapabilityType::kRUNTIME:
                return static_cast<nvinfer1::IPluginV3OneRuntime *>(this);
        }
        return nullptr;
    }

    const char *getPluginName() const noexcept final { return Plugin::kName; }
    const char *getPluginVersion() const noexcept final { return Plugin::kVersion; }
    const char *getPluginNamespace() const noexcept final { return kPluginNamespace; }

    nvinfer1::IPluginV3 *clone() noexcept final {
        return guarded<nvinfer1::IPluginV3 *>(Plugin::kName, nullptr, [&] {
            auto copy = std::make_unique<Plugin>(attributes_);
            copy->num_inputs_ = num_inputs_;
            return copy.release();
        });
    }

    nvinfer1::IPluginV3 *attachToContext(nvinfer1::IPluginResourceContext *) noexcept final { return clone(); }

    const nvinfer1::PluginFieldCollection *getFieldsToSerialize() noexcept final {
        return guarded<const nvinfer1::PluginFieldCollection *>(Plugin::kName, nullptr, [&] {
            serialised_ = std::make_unique<FieldList>(FieldList::kValues);
            Attributes::describe(*serialised_, attributes_);
            return serialised_->collection();
        });
    }

    int32_t getOutputDataTypes(nvinfer1::DataType *outputs, int32_t num_outputs, const nvinfer1::DataType *inputs,
                               int32_t num_inputs) const noexcept final {
        return status(num_inputs, num_outputs, [&] { output_types(inputs, outputs); });
    }

    int32_t getOutputShapes(const nvinfer1::DimsExprs *inputs, int32_t num_inputs, const nvinfer1::DimsExprs *, int32_t,
                            nvinfer1::DimsExprs *outputs, int32_t num_outputs,
                            nvinfer1::IExprBuilder &builder) noexcept final {
        return status(num_inputs, num_outputs, [&] { output_shapes(inputs, num_inputs, outputs, builder); });
    }

    bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                                   int32_t num_inputs, int32_t num_outputs) noexcept final {
        return guarded(Plugin::kName, false, [&] {
            require_counts(num_inputs, num_outputs);
            return supports(position, tensors, num_inputs);
        });
    }

    int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                            const nvinfer1::DynamicPluginTensorDesc *, int32_t num_outputs) noexcept final {
        return status(num_inputs, num_outputs, [&] {
            num_inputs_ = num_inputs;
            params_for({inputs, &nvinfer1::DynamicPluginTensorDesc::min, num_inputs});
            params_for({inputs, &nvinfer1::DynamicPluginTensorDesc::max, num_inputs});
        });
    }

    size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                            const nvinfer1::DynamicPluginTensorDesc *, int32_t num_outputs) const noexcept final {
        return guarded<size_t>(Plugin::kName, 0, [&] {
            require_counts(num_inputs, num_outputs);
            return workspace_bytes(params_for({inputs, &nvinfer1::DynamicPluginTensorDesc::max, num_inputs}));
        });
    }

    int32_t onShapeChange(const nvinfer1::PluginTensorDesc *inputs, int32_t num_inputs,
                          const nvinfer1::PluginTensorDesc *, int32_t num_outputs) noexcept final {
        return status(num_inputs, num_outputs, [&] {
            num_inputs_ = num_inputs;
            params_for({inputs, num_inputs});
        });
    }

    int32_t enqueue(const nvinfer1::PluginTensorDesc *input_descs, const nvinfer1::PluginTensorDesc *,
                    const void *const *inputs, void *const *outputs, void *workspace,
                    cudaStream_t stream) noexcept final {
        return guarded<int32_t>(Plugin::kName, 1, [&] {
            require(num_inputs_ > 0, "enqueue was called before configurePlugin and onShapeChange");
            cudaError_t error = launch(params_for({input_descs, num_inputs_}), {inputs, outputs, workspace, stream});
            if (error != cudaSuccess) {
                throw std::runtime_error(std::string("the launch failed: ") + cudaGetErrorName(error) + ", " +
                                         cudaGetErrorString(error));
            }
            return 0;
        });
    }

  protected:
    /// Throws InvalidArgument for a wrong number of inputs. It is called before each of the functions below.
    virtual void require_num_inputs(int32_t num_inputs) const = 0;
    virtual void output_types(const nvinfer1::DataType *inputs, nvinfer1::DataType *outputs) const = 0;
    virtual void output_shapes(const nvinfer1::DimsExprs *inputs, int32_t num_inputs, nvinfer1::DimsExprs *outputs,
                               nvinfer1::IExprBuilder &builder) const = 0;
    /// Whether tensor `position` (inputs first) may have its type and format, given those of the tensors before it.
    virtual bool supports(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                          int32_t num_inputs) const = 0;
    /// The parameters for these inputs. Throws InvalidArgument if their shapes are wrong.
    virtual Params params_for(const Tensors &inputs) const = 0;
    virtual size_t workspace_bytes(const Params &) const { return 0; }
    /// The workspace holds workspace_bytes() of the profile's largest shapes, so at least those of `params`.
    virtual cudaError_t launch(const Params &params, const Buffers &buffers) const = 0;

    const Attributes attributes_;

  private:
    void require_counts(int32_t num_inputs, int32_t num_outputs) const {
        require_num_inputs(num_inputs);
        require(num_outputs == this->getNbOutputs(), "expected ", this->getNbOutputs(), " outputs, got ", num_outputs);
    }

    /// 0, or 1 if the counts are wrong or body() throws.
    template <typename Body>
    int32_t status(int32_t num_inputs, int32_t num_outputs, const Body &body) const noexcept {
        return guarded<int32_t>(Plugin::kName, 1, [&] {
            require_counts(num_inputs, num_outputs);
            body();
            return 0;
        });
    }

    std::unique_ptr<FieldList> serialised_;
    int32_t num_inputs_ = 0;  // of the last configurePlugin or onShapeChange: enqueue does not get it
};

/// Creates `Plugin` objects, from the same fields in both phases: a plugin serialises its attributes.
template <typename Plugin>
class PluginCreator : public nvinfer1::IPluginCreatorV3One {
  public:
    PluginCreator() {
        typename Plugin::Attributes attributes;
        Plugin::Attributes::describe(names_, attributes);
    }

    nvinfer1::IPluginV3 *createPlugin(const char *, const nvinfer1::PluginFieldCollection *fields,
                                      nvinfer1::TensorRTPhase) noexcept override {
        return guarded<nvinfer1::IPluginV3 *>(Plugin::kName, nullptr, [&] {
            typename Plugin::Attributes attributes;
            FieldReader reader(fields);
            Plugin::Attributes::describe(reader, attributes);
            reader.finish();
            return new Plugin(std::move(attributes));
        });
    }

    const nvinfer1::PluginFieldCollection *getFieldNames() noexcept override { return names_.collection(); }
    const char *getPluginName() const noexcept override { return Plugin::kName; }
    const char *getPluginVersion() const noexcept override { return Plugin::kVersion; }
    const char *getPluginNamespace() const noexcept override { return kPluginNamespace; }

  private:
    FieldList names_{FieldList::kNames};
};

}  // namespace retinaface
