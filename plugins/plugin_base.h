#pragma once

#include <memory>
#include <utility>

#include "plugin_utils.h"

namespace retinaface {

constexpr const char *kPluginVersion = "1";
constexpr const char *kPluginNamespace = "";

/// What the plugins share: one object with all three capabilities, whose whole state is its attributes.
///
/// A `Plugin` derives from PluginBase<Plugin, Attributes>, is built from Attributes (and throws
/// InvalidArgument for wrong ones) and has a static kName. Attributes is a struct with
/// `template <typename Fields, typename Self> static void describe(Fields &, Self &)`; see FieldReader.
template <typename Plugin, typename AttributesType>
class PluginBase : public nvinfer1::IPluginV3,
                   public nvinfer1::IPluginV3OneCore,
                   public nvinfer1::IPluginV3OneBuild,
                   public nvinfer1::IPluginV3OneRuntime {
  public:
    using Attributes = AttributesType;

    explicit PluginBase(Attributes attributes) : attributes_(std::move(attributes)) {}

    nvinfer1::IPluginCapability *getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
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

    nvinfer1::IPluginV3 *clone() noexcept override {
        return guarded<nvinfer1::IPluginV3 *>(Plugin::kName, nullptr, [&] { return new Plugin(attributes_); });
    }

    nvinfer1::IPluginV3 *attachToContext(nvinfer1::IPluginResourceContext *) noexcept override { return clone(); }

    const char *getPluginName() const noexcept override { return Plugin::kName; }
    const char *getPluginVersion() const noexcept override { return kPluginVersion; }
    const char *getPluginNamespace() const noexcept override { return kPluginNamespace; }

    const nvinfer1::PluginFieldCollection *getFieldsToSerialize() noexcept override {
        return guarded<const nvinfer1::PluginFieldCollection *>(Plugin::kName, nullptr, [&] {
            serialised_ = std::make_unique<FieldList>(FieldList::kValues);
            Attributes::describe(*serialised_, attributes_);
            return serialised_->collection();
        });
    }

  protected:
    const Attributes attributes_;

  private:
    std::unique_ptr<FieldList> serialised_;
};

/// Makes `Plugin` objects. Both phases take the same fields, because what a plugin serialises is its
/// attributes.
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
    const char *getPluginVersion() const noexcept override { return kPluginVersion; }
    const char *getPluginNamespace() const noexcept override { return kPluginNamespace; }

  private:
    FieldList names_{FieldList::kNames};
};

}  // namespace retinaface
